//! The Nitro Security Module of an enclave, by its device.
//!
//! The driver (`drivers/misc/nsm.c` of Linux) knows one call, which hands over a request and takes a response, both
//! CBOR. What they say is the business of the floors above.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The longest request, in bytes.
pub const MOST_REQUEST: usize = 0x1000;
/// The longest response, in bytes.
pub const MOST_RESPONSE: usize = 0x3000;

/// `struct nsm_raw` of the driver.
#[repr(C)]
struct Message {
    request: libc::iovec,
    response: libc::iovec,
}

/// `NSM_IOCTL_RAW`.
const CALL: libc::Ioctl = libc::_IOWR::<Message>(0x0a, 0);

/// The device, opened.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Opens a character device.
    ///
    /// # Errors
    /// What `open` says; `InvalidInput` for what is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Without O_NONBLOCK a FIFO in this place would hang the host.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        match file.metadata()?.file_type().is_char_device() {
            true => Ok(Self(file)),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no character device")),
        }
    }

    /// Sends a request and returns the response.
    ///
    /// # Errors
    /// What `ioctl` says; `InvalidInput` for a request that is too long.
    pub fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        if request.len() > MOST_REQUEST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut response = vec![0; MOST_RESPONSE];
        let mut message = Message {
            request: libc::iovec { iov_base: request.as_ptr().cast_mut().cast(), iov_len: request.len() },
            response: libc::iovec { iov_base: response.as_mut_ptr().cast(), iov_len: response.len() },
        };
        // SAFETY: the message and both buffers live as long as the call; the driver reads the first, writes at most the
        // second's length, and sets that to what it wrote. Another driver does not know the call.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), CALL, &raw mut message) } != 0 {
            return Err(io::Error::last_os_error());
        }
        response.truncate(message.response.iov_len);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_the_drivers() {
        // _IOWR(0x0A, 0x0, struct nsm_raw), which is four words.
        #[cfg(target_pointer_width = "64")]
        assert_eq!(CALL as u32, 0xc020_0a00);
    }

    #[test]
    fn what_is_no_such_device_is_refused() {
        let error = |path: &str| Device::open(Path::new(path)).map(|device| device.ask(&[0])).unwrap_err();
        assert_eq!(error("/nonexistent").kind(), io::ErrorKind::NotFound);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(error(file.to_str().unwrap()).kind(), io::ErrorKind::InvalidInput);
        let null = Device::open(Path::new("/dev/null")).unwrap();
        assert_eq!(null.ask(&[0]).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(null.ask(&[0; MOST_REQUEST + 1]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
