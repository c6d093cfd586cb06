import java.security.KeyPair;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;

/** What each of these programs begins with: SunPKCS11 by its configuration file, and the token's entries. */
final class Token {
    final Provider provider;
    final KeyStore store;

    Token(String configuration, String pin) throws Exception {
        provider = Security.getProvider("SunPKCS11").configure(configuration);
        store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, pin.toCharArray());
    }

    PrivateKey key(String alias) throws Exception {
        PrivateKey key = (PrivateKey) store.getKey(alias, null);
        check(key != null, "no entry " + alias);
        check(key.getEncoded() == null, alias + " shows its value");
        return key;
    }

    KeyPair pair(String alias) throws Exception {
        return new KeyPair(store.getCertificate(alias).getPublicKey(), key(alias));
    }

    /** The algorithms of one type that the provider made of the module's mechanisms. */
    String[] algorithms(String type) {
        return provider.getServices().stream().filter(each -> each.getType().equals(type))
            .map(Provider.Service::getAlgorithm).sorted().toArray(String[]::new);
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new AssertionError(otherwise);
    }
}
