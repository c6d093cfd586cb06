//! Every kind of key pair, through the loaded module: generated, used, found, described.

mod host;

use cryptoki_sys::*;
use host::{Kind, Module, Place, alone, ok};

#[test]
fn every_kind_signs_and_verifies() {
    if !alone("every_kind_signs_and_verifies") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.open(true);
    module.login(session);
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let (public, private) = module.generate(session, kind, &[index as u8]);
        let signature = module.sign(session, private, kind.signs(), b"data").unwrap();
        assert_eq!(module.verify(session, public, kind.signs(), b"data", &signature), CKR_OK, "{kind:?}");
        assert_eq!(
            module.verify(session, public, kind.signs(), b"other", &signature),
            CKR_SIGNATURE_INVALID,
            "{kind:?}"
        );
    }
    ok!(module, C_Finalize, std::ptr::null_mut());
}
