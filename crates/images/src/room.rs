//! Room on the disk: whoever limits what a store may take is asked before it grows.

use std::{
    io::{self, Read},
    sync::Arc,
};

use skiff_snapshots::Companion;

/// Gives room, or refuses it. The methods may be called from any thread.
pub trait Room: Send + Sync {
    /// So many bytes more are about to be written. Blocks while room is made for them.
    ///
    /// # Errors
    /// There is none.
    fn take(&self, bytes: u64) -> io::Result<()>;

    /// Bytes that were taken belong to nobody under way any more: they are part of the store now, or have been removed.
    fn settle(&self, bytes: u64);
}

/// What an operation under way has taken. Dropping it settles that.
pub(crate) struct Claim {
    room: Option<Arc<dyn Room>>,
    bytes: u64,
}

impl Claim {
    pub(crate) fn new(room: Option<Arc<dyn Room>>) -> Self {
        Self { room, bytes: 0 }
    }

    pub(crate) fn grow(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(room) = &self.room {
            room.take(bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// As what goes with a staged layer, and grows with it.
    pub(crate) fn companion(mut self) -> Companion {
        Box::new(move |bytes| self.grow(bytes))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(room) = self.room.take().filter(|_| self.bytes > 0) {
            room.settle(self.bytes);
        }
    }
}

/// Takes room for what is read before it is handed on, since it will be written.
pub(crate) struct Charged<'a> {
    input: &'a mut (dyn Read + Send),
    claim: Claim,
    /// Bytes that are taken already.
    ahead: u64,
}

/// So much is taken at once.
const STEP: u64 = 1 << 20;

impl<'a> Charged<'a> {
    pub(crate) fn new(input: &'a mut (dyn Read + Send), claim: Claim) -> Self {
        Self { input, claim, ahead: 0 }
    }

    /// What was taken for all that was read.
    pub(crate) fn into_claim(self) -> Claim {
        self.claim
    }
}

impl Read for Charged<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        if let Some(missing) = (n as u64).checked_sub(self.ahead).filter(|missing| *missing > 0) {
            let step = missing.max(STEP);
            self.claim.grow(step)?;
            self.ahead += step;
        }
        self.ahead -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Most(u64, Mutex<u64>);

    impl Room for Most {
        fn take(&self, bytes: u64) -> io::Result<()> {
            let mut taken = self.1.lock().unwrap();
            if *taken + bytes > self.0 {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            *taken += bytes;
            Ok(())
        }

        fn settle(&self, bytes: u64) {
            *self.1.lock().unwrap() -= bytes;
        }
    }

    #[test]
    fn what_is_read_is_taken_first_and_settled_at_the_end() {
        let room = Arc::new(Most(3 << 20, Mutex::default()));
        let mut input = &vec![0_u8; 5 << 19][..];
        let mut charged = Charged::new(&mut input, Claim::new(Some(room.clone())));
        assert_eq!(io::copy(&mut charged, &mut io::sink()).unwrap(), 5 << 19);
        let claim = charged.into_claim();
        assert_eq!(*room.1.lock().unwrap(), 3 << 20);
        let mut more = &[1_u8][..];
        let error = Charged::new(&mut more, Claim::new(Some(room.clone()))).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        drop(claim);
        assert_eq!(*room.1.lock().unwrap(), 0);
    }
}
