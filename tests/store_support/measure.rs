//! How long a store takes, with many objects. Not a test.

use crate::store_support::{ID, LABEL, all, by, pair, token};
use datakey::store::{Query, Store};
use std::time::Instant;

pub(crate) fn measure(store: &dyn Store, count: u32) {
    store.initialise(&token(), None).unwrap();
    let started = Instant::now();
    for first in (0..count / 2).step_by(1000) {
        let some: Vec<_> = (first..(first + 1000).min(count / 2)).flat_map(|number| pair(number, number)).collect();
        store.insert(&some).unwrap();
    }
    println!("inserted {count}, 2000 a transaction: {:.1} s", started.elapsed().as_secs_f64());
    let time = |what: &str, times: u32, work: &dyn Fn(u32)| {
        let round = |round: u32| {
            let started = Instant::now();
            (0..times).for_each(|n| work((n + round * times).wrapping_mul(2_654_435_761) % (count / 2)));
            started.elapsed().as_secs_f64() * 1e6 / f64::from(times)
        };
        println!("{what}: {:.0} us", (0..5).map(round).fold(f64::MAX, f64::min));
    };
    let found = |equal: Vec<(u64, Vec<u8>)>, expected: usize| {
        let ids = store.find(&Query { equal, ..Query::default() }, None, 10).unwrap().ids;
        assert_eq!(ids.len(), expected);
    };
    let key_class = 3_u64.to_be_bytes().to_vec();
    let label = |n: u32| (LABEL, format!("writer {n}").into_bytes());
    let id = |n: u32| (ID, pair(n, n)[0].attributes[&ID].clone());
    time("find by id", 500, &|n| found(vec![id(n)], 2));
    time("find by class and label", 500, &|n| found(vec![label(n), (0, key_class.clone())], 1));
    time("first 100 of a class", 50, &|_| {
        assert_eq!(store.find(&by(0, &key_class), None, 100).unwrap().ids.len(), 100);
    });
    time("get", 500, &|n| assert!(store.get(&pair(n, n)[0].id).unwrap().is_some()));
    time("token", 500, &|_| assert!(store.token().unwrap().is_some()));
    let next = std::cell::Cell::new(0);
    time("insert a pair", 100, &|_| {
        next.set(next.get() + 1);
        store.insert(&pair(u32::MAX - std::process::id(), next.get())).unwrap();
    });
    let started = Instant::now();
    assert!(all(store, &Query::default()).len() as u32 >= count);
    println!("list all: {:.2} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    store.check().unwrap();
    println!("check: {:.1} s", started.elapsed().as_secs_f64());
}
