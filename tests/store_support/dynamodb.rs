//! Tables of DynamoDB in emulators that others wrote: two, since each is wrong in its own way.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use crate::support::emulators::Emulator;
use crate::support::{self, ANY_CREDENTIALS, is_child};
use datakey::config::{DynamoDbConfig, KmsConfig, StoreLocation, Timeouts};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

const URLS: &str = "DATAKEY_TEST_URLS";

/// Runs the test that this thread runs once more, in a child that has credentials and the emulators' URLs in its
/// environment. Whether this is that child.
pub(crate) fn in_child() -> bool {
    static EMULATORS: OnceLock<[Emulator; 2]> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    if is_child() {
        return true;
    }
    // moto answers two transactions at once with status 500.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let emulators = EMULATORS.get_or_init(|| [Emulator::ministack(), Emulator::moto()]);
    let urls = emulators.iter().map(Emulator::url).collect::<Vec<_>>().join(" ");
    let test = std::thread::current().name().unwrap().to_owned();
    support::in_child(&test, &[ANY_CREDENTIALS.as_slice(), &[(URLS, urls.as_str())]].concat())
}

/// The emulators' URLs, in the child.
pub(crate) fn urls() -> Vec<String> {
    std::env::var(URLS).unwrap().split(' ').map(str::to_owned).collect()
}

/// No test has had a token or a table of this name in any emulator.
pub(crate) fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// moto copies all tables of a Region at each transaction: each test has one to itself, as far as they go.
fn region() -> &'static str {
    const REGIONS: &[&str] = &[
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "eu-central-1",
        "eu-north-1",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-northeast-1",
        "ap-northeast-2",
        "sa-east-1",
        "ca-central-1",
    ];
    REGIONS[std::process::id() as usize % REGIONS.len()]
}

/// Others use the machine too, and moto is slow.
fn timeouts() -> Timeouts {
    let (attempt, total) = (Duration::from_secs(30), Duration::from_secs(120));
    Timeouts { attempt, total, ..Timeouts::default() }
}

pub(crate) fn location(url: &str, table: &str, token: &str) -> StoreLocation {
    StoreLocation::DynamoDb(Box::new(DynamoDbConfig {
        table: table.into(),
        token: token.into(),
        endpoint_url: Some(url.into()),
        access: KmsConfig { region: Some(region().into()), timeouts: timeouts(), ..KmsConfig::default() },
    }))
}
