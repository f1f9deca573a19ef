//! Messages between two processes of the gateway, with descriptors beside them (`SCM_RIGHTS`, unix(7)): over Unix sockets
//! of the kind `SOCK_SEQPACKET`, which keep messages whole.
//!
//! A descriptor that was sent stays open in the sender too: a listener or a connection is never without an owner on its
//! way.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Most descriptors beside one message; the kernel's own bound is 253.
pub const FDS_MAX: usize = 120;

/// Longest message: what a socket's buffer holds twice by default.
pub const BYTES_MAX: usize = 96 * 1024;

/// Room for the control message of [`FDS_MAX`] descriptors, aligned as a `cmsghdr`.
type Control = [u64; 64];

const _: () = assert!(size_of::<Control>() >= 24 + FDS_MAX * size_of::<RawFd>());

/// A message and what came with it.
pub type Received = (Vec<u8>, Vec<OwnedFd>);

/// Sends one message, which must not be empty. Without `wait` a full socket is [`io::ErrorKind::WouldBlock`].
///
/// # Errors
/// The message or the descriptors are too many, or the other end is gone.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    if fds.len() > FDS_MAX || bytes.is_empty() || bytes.len() > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one message"));
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control: Control = [0; 64];
    let mut message = header(&mut part);
    if !fds.is_empty() {
        let length = mem::size_of_val(fds) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; the room for FDS_MAX descriptors is asserted above, and
        // `control` is aligned as a cmsghdr and outlives the call. CMSG_DATA lies in the same array.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let control = libc::CMSG_FIRSTHDR(&raw const message);
            (*control).cmsg_level = libc::SOL_SOCKET;
            (*control).cmsg_type = libc::SCM_RIGHTS;
            (*control).cmsg_len = libc::CMSG_LEN(length) as _;
            let data = libc::CMSG_DATA(control).cast::<RawFd>();
            fds.iter().enumerate().for_each(|(at, fd)| data.add(at).write_unaligned(fd.as_raw_fd()));
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: `message` points to one part and one control message, both of which live over the call.
    retry(|| unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) }).map(|_| ())
}

/// Receives one message; `None` when the other end is gone. Without `wait` an empty socket is
/// [`io::ErrorKind::WouldBlock`].
///
/// # Errors
/// The message was longer than any that is sent, or a descriptor did not fit.
pub fn receive(socket: BorrowedFd<'_>, wait: bool) -> io::Result<Option<Received>> {
    let mut bytes = vec![0; BYTES_MAX];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control: Control = [0; 64];
    let mut message = header(&mut part);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: `message` points to one part and to room for control messages, both of which live over the call.
    let length = retry(|| unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    let fds = take_descriptors(&message);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut off"));
    }
    bytes.truncate(length);
    Ok((length > 0).then_some((bytes, fds)))
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: msghdr is plain data, for which all zeroes is the empty message.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    (message.msg_iov, message.msg_iovlen) = (part, 1);
    message
}

/// The descriptors that came with a message: each is owned from here on.
fn take_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel filled the control buffer of `message`, up to the length that it left there; the macros walk
    // within it. Each descriptor of an SCM_RIGHTS message is new in this process and nobody else's.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET && (*control).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*control).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(control).cast::<RawFd>();
                let all = (0..bytes / size_of::<RawFd>()).map(|at| data.add(at).read_unaligned());
                fds.extend(all.map(|fd| OwnedFd::from_raw_fd(fd)));
            }
            control = libc::CMSG_NXTHDR(message, control);
        }
    }
    fds
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(length) => return Ok(length),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn pair() -> (Socket, Socket) {
        Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap()
    }

    #[test]
    fn a_connection_that_was_passed_on_goes_on_without_its_first_owner() {
        let (from, to) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        send(from.as_fd(), b"one", &[server.as_fd(), listener.as_fd()], false).unwrap();
        drop((server, listener));
        let (bytes, mut fds) = receive(to.as_fd(), false).unwrap().unwrap();
        assert_eq!((&*bytes, fds.len()), (&b"one"[..], 2));
        let listener = TcpListener::from(fds.remove(1));
        TcpStream::from(fds.remove(0)).write_all(b"x").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }

    #[test]
    fn messages_stay_whole_and_their_end_is_told_from_there_being_none() {
        let (from, to) = pair();
        assert_eq!(receive(to.as_fd(), false).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for bytes in [&b"first"[..], b"second"] {
            send(from.as_fd(), bytes, &[], true).unwrap();
        }
        assert_eq!(receive(to.as_fd(), true).unwrap().unwrap().0, b"first");
        assert_eq!(receive(to.as_fd(), true).unwrap().unwrap().0, b"second");
        assert!(send(from.as_fd(), &vec![0; BYTES_MAX + 1], &[], true).is_err());
        assert!(send(from.as_fd(), &[], &[], true).is_err());
        drop(from);
        assert!(receive(to.as_fd(), true).unwrap().is_none());
    }
}
