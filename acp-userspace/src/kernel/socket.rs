//! The socket options the kernel plane needs: `SO_COOKIE`, `TCP_INFO`, and `SO_LINGER` for a close that resets.
//!
//! Sockets are named by raw descriptor, because that is what the runtime's streams give. A wrong one is an error of
//! the system call, never undefined behaviour.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::os::fd::RawFd;

use socket2::SockAddr;

/// The kernel's own number for the socket, never given out twice in a boot: what joins ledger and audit log.
///
/// # Errors
/// If `fd` is no socket.
pub fn cookie(fd: RawFd) -> io::Result<u64> {
    option(fd, libc::SOL_SOCKET, libc::SO_COOKIE)
}

/// Arranges for the close of `fd` to send RST instead of FIN: nothing lingers for a peer that was refused.
///
/// # Errors
/// If `fd` is no socket.
pub fn reset_on_close(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = mem::size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option's value is a `linger` of that length, and lives over the call.
    let rc = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The address the connection was accepted on.
pub(super) fn local(fd: RawFd) -> io::Result<SocketAddr> {
    // SAFETY: on success the kernel has written an address of the length it reports.
    let named = unsafe {
        SockAddr::try_init(|storage, length| {
            // `try_init` hands a storage and its length, both writable.
            let rc = libc::getsockname(fd, storage.cast(), length);
            if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        })
    };
    let ((), address) = named?;
    address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// What the kernel knows about a connection. A field that an older kernel lacks reads as zero.
///
/// # Errors
/// `fd` is no TCP socket.
pub fn tcp_info(fd: RawFd) -> io::Result<libc::tcp_info> {
    option(fd, libc::IPPROTO_TCP, libc::TCP_INFO)
}

/// Plain integers, for which zeroes, and any prefix the kernel fills in, are a value.
trait Plain: Copy {}
impl Plain for u64 {}
impl Plain for libc::tcp_info {}

fn option<T: Plain>(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is `length` writable bytes; the kernel writes no more than that.
    let rc = unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, then a prefix overwritten with integers, and `T` is plain integers.
    Ok(unsafe { value.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn two_sockets_have_two_cookies_and_keep_them() {
        let [a, b] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback"));
        let first = cookie(a.as_raw_fd()).expect("a socket");
        assert_ne!(first, cookie(b.as_raw_fd()).expect("a socket"));
        assert_eq!(first, cookie(a.as_raw_fd()).expect("a socket"));
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        assert!(cookie(-1).is_err());
        assert!(tcp_info(-1).is_err());
        assert!(reset_on_close(-1).is_err());
    }
}
