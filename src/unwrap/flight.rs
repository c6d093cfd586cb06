//! Single flight: of all who want the same cold key at once, one asks KMS and the others wait for it.

use crate::error::{Cause, Error, Result};
use crate::host::lock::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Work in progress, by key.
pub struct Flights<K, V>(Mutex<HashMap<K, Arc<Flight<V>>>>);

struct Flight<V> {
    landed: Mutex<Option<Result<V>>>,
    arrival: Condvar,
}

impl<K: Eq + Hash + Clone, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    /// No work in progress.
    pub fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Runs `work` for `key`, or waits for the caller who is running it. The second value tells
    /// whether this caller ran it.
    ///
    /// `work` has its own deadline, so waiting for it needs none.
    pub fn run(&self, key: K, work: impl FnOnce() -> Result<V>) -> (Result<V>, bool) {
        let (flight, first) = {
            let mut flights = lock(&self.0);
            match flights.get(&key) {
                Some(flight) => (Arc::clone(flight), false),
                None => {
                    let flight = Arc::new(Flight { landed: Mutex::new(None), arrival: Condvar::new() });
                    flights.insert(key.clone(), Arc::clone(&flight));
                    (flight, true)
                }
            }
        };
        if first {
            let mut landing = Landing { flights: self, key, flight, result: Err(crashed()) };
            landing.result = work();
            (landing.result.clone(), true)
        } else {
            let mut landed = lock(&flight.landed);
            loop {
                match &*landed {
                    Some(result) => return (result.clone(), false),
                    None => landed = flight.arrival.wait(landed).unwrap_or_else(PoisonError::into_inner),
                }
            }
        }
    }
}

fn crashed() -> Error {
    Cause::Panic.with("the unwrap that this call waited for crashed")
}

/// Tells the waiting callers, even when `work` panics.
struct Landing<'a, K: Eq + Hash + Clone, V: Clone> {
    flights: &'a Flights<K, V>,
    key: K,
    flight: Arc<Flight<V>>,
    result: Result<V>,
}

impl<K: Eq + Hash + Clone, V: Clone> Drop for Landing<'_, K, V> {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.key);
        *lock(&self.flight.landed) = Some(self.result.clone());
        self.flight.arrival.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn of_many_callers_one_works_and_all_get_its_result() {
        let (flights, ran, start) = (Flights::new(), AtomicU32::new(0), Barrier::new(16));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    start.wait();
                    let (result, _) = flights.run("key", || {
                        ran.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(100));
                        Ok(7)
                    });
                    assert_eq!(result.unwrap(), 7);
                });
            }
        });
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_crash_releases_those_who_wait_and_the_next_call_works() {
        let (flights, start) = (Flights::<_, u32>::new(), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    flights.run("key", || {
                        start.wait();
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        panic!("injected")
                    })
                }))
                .unwrap_err();
            });
            start.wait();
            let (result, worked) = flights.run("key", || Ok(1));
            assert!(worked || result.unwrap_err().cause() == Cause::Panic);
        });
        assert_eq!(flights.run("key", || Ok(2)).0.unwrap(), 2);
    }
}
