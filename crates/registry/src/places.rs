//! Places for clients: how many are served at once, and how many of them may be one address's.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    each: usize,
    /// Places in use by address.
    used: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place that somebody has; dropping it makes it free.
#[derive(Debug)]
pub(crate) struct Place {
    _free: OwnedSemaphorePermit,
    used: Arc<Mutex<HashMap<IpAddr, usize>>>,
    owner: IpAddr,
}

impl Places {
    /// So many places, of which one address has at most `each`.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), each, used: Arc::default() }
    }

    /// Waits for a place.
    pub(crate) async fn free(&self) -> OwnedSemaphorePermit {
        self.free.clone().acquire_owned().await.expect("it is never closed")
    }

    /// Gives a place to a client, unless its address has too many.
    pub(crate) fn take(&self, free: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let owner = owner(address);
        let mut used = self.used.lock().expect("no panic under this lock");
        let count = used.entry(owner).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Place { _free: free, used: self.used.clone(), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut used = self.used.lock().expect("no panic under this lock");
        if let Some(count) = used.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                used.remove(&self.owner);
            }
        }
    }
}

/// Who has an address. With IPv6 one host has a whole network of 64 bits.
pub(crate) fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_leaves_places_to_others() {
        let places = Places::new(4, 2);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = places.take(places.free().await, ip("fd00::1")).unwrap();
        let _second = places.take(places.free().await, ip("fd00::2")).unwrap();
        assert!(places.take(places.free().await, ip("fd00::3")).is_none());
        let _other = places.take(places.free().await, ip("10.0.0.1")).unwrap();
        let _same = places.take(places.free().await, ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(places.free.available_permits(), 0);
        drop(first);
        assert!(places.take(places.free().await, ip("10.0.0.1")).is_none());
        assert!(places.take(places.free().await, ip("fd00::3")).is_some());
        assert_eq!(places.used.lock().unwrap().len(), 2);
    }

    #[test]
    fn an_address_is_what_one_client_has() {
        let same = |a: &str, b: &str| owner(a.parse().unwrap()) == owner(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
