//! The system calls that `std` does not offer, each behind a safe function: CPU affinity, process clocks, epoll with
//! nanosecond timeouts, sockets bound to a source address, a private network namespace, signals to children.
//!
//! This is the only file of the benchmark with `unsafe` in it. Nothing here knows what is being measured.

use std::fs::File;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Turns the usual "-1 and errno" into a `Result`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Restricts the calling thread, and every process it spawns, to `cores`.
///
/// # Errors
/// When none of the cores may be used.
pub(super) fn pin(cores: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &core in cores.iter().filter(|&&core| core < libc::CPU_SETSIZE as usize) {
        // SAFETY: `core` is below CPU_SETSIZE, the number of bits of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the pointer and the size describe the set above, which outlives the call.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set) }).map(drop)
}

/// Waits until the file system that `file` is on has nothing left to do of what was written or removed before.
///
/// # Errors
/// When the disk fails.
pub(super) fn settle(file: &File) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::syncfs(file.as_raw_fd()) }).map(drop)
}

/// The cores this process may run on, in rising order.
///
/// # Errors
/// When the kernel has more cores than a `cpu_set_t` has bits.
pub(super) fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the pointer and the size describe the set above, which outlives the call.
    check(unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) })?;
    // SAFETY: the range ends below CPU_SETSIZE, the number of bits of the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
}

/// CPU time of a whole process so far, its ended threads included, its children not.
///
/// The counter behind `utime + stime` of `/proc/PID/stat`, read in nanoseconds instead of 10 ms ticks.
///
/// # Errors
/// When there is no such process.
pub(super) fn process_cpu(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` outlives the call.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => {}
        errno => return Err(io::Error::from_raw_os_error(errno)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Asks for `signal` when the parent dies. For use between fork and exec.
///
/// # Errors
/// When the parent, whose id the caller knows, is already gone.
pub(super) fn die_with(parent: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: this prctl takes one integer and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
    if std::os::unix::process::parent_id() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Makes timer wake-ups of this thread as exact as the hardware allows (the default slack is 50 µs).
pub(super) fn exact_timers() {
    // SAFETY: this prctl takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// Lets others go first: raises the niceness of the process to `nice`.
pub(super) fn be_nice(nice: libc::c_int) {
    // SAFETY: setpriority touches no memory.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Moves the process, while it has one thread, into a network namespace of its own with `lo` up.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`, or when the kernel has no network namespaces.
pub(super) fn enter_private_network() -> io::Result<()> {
    // SAFETY: unshare touches no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    // SAFETY: socket touches no memory; the descriptor is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?) };
    // SAFETY: an all-zero ifreq is valid: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// Moves the calling thread into a network namespace that ip(8) has named.
///
/// # Errors
/// When there is none of that name, or without `CAP_SYS_ADMIN`.
pub(super) fn enter_network(name: &str) -> io::Result<()> {
    let namespace = std::fs::File::open(format!("/run/netns/{name}"))?;
    // SAFETY: setns touches no memory; the descriptor is open.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// A socket that sends whole frames out of `interface`.
///
/// # Errors
/// When there is no such interface, or without `CAP_NET_RAW`.
pub(super) fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: socket touches no memory; the descriptor is new and owned by nobody else.
    let socket =
        unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0))?) };
    // SAFETY: an all-zero sockaddr_ll is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    address.sll_ifindex = libc::c_int::try_from(index).map_err(io::Error::other)?;
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address outlives the call and has that length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Sends frames, each whole; how many went out.
///
/// # Errors
/// When none did for another reason than that the queue was full.
pub(super) fn send_frames(socket: &OwnedFd, frames: &[Vec<u8>]) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: an all-zero mmsghdr is valid: no name, no data, no control messages.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
            message
        })
        .collect();
    let count = libc::c_uint::try_from(messages.len()).unwrap_or(0);
    // SAFETY: the messages point to the parts, those to the frames, which are only read; all outlive the call.
    match check(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) }) {
        Ok(sent) => Ok(usize::try_from(sent).unwrap_or(0)),
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Has the kernel count runs and time of every BPF program until the descriptor is closed.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`, or on kernels before 5.8.
pub(super) fn count_bpf_runs() -> io::Result<OwnedFd> {
    /// bpf(2): the command, and `BPF_STATS_RUN_TIME` in the union that it reads.
    const BPF_ENABLE_STATS: libc::c_long = 32;
    let run_time: [u32; 2] = [0, 0];
    // SAFETY: the union of which eight bytes are given is read to that length only, and outlives the call.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_ENABLE_STATS, &raw const run_time, mem::size_of_val(&run_time)) };
    let fd = check(libc::c_int::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Raises the soft limit of open files to the hard one.
pub(super) fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to `limit`, which outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Sends `signal` to a child.
pub(super) fn signal(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill touches no memory; the caller has not yet waited for the child, so the id is still its own.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Children to end when the user interrupts: far more than run at once. 0 marks a free slot.
static CHILDREN: [AtomicI32; 32] = [const { AtomicI32::new(0) }; 32];

/// Registers a child to be ended by [`end_children_on_interrupt`].
pub(super) fn register_child(pid: u32) {
    let pid = i32::try_from(pid).unwrap_or(0);
    for slot in &CHILDREN {
        if slot.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

/// Forgets a child that is about to be waited for.
pub(super) fn forget_child(pid: u32) {
    let pid = i32::try_from(pid).unwrap_or(0);
    for slot in &CHILDREN {
        let _ = slot.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

extern "C" fn end_children(_signal: libc::c_int) {
    for slot in &CHILDREN {
        let pid = slot.load(Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: kill is async-signal-safe and touches no memory.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
    // SAFETY: _exit is async-signal-safe and does not return.
    unsafe { libc::_exit(130) }
}

/// Ends every registered child, then this process, on SIGINT and SIGTERM.
pub(super) fn end_children_on_interrupt() {
    let handler = end_children as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for interrupt in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only calls async-signal-safe functions.
        unsafe { libc::signal(interrupt, handler) };
    }
}

/// Starts to connect from `source` (any free port) to `target` without waiting: the outcome is an epoll event, then
/// `TcpStream::take_error`.
///
/// # Errors
/// When there is no descriptor or port left, or the connection fails at once.
pub(super) fn start_connect(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<TcpStream> {
    // SAFETY: socket touches no memory; the descriptor is new and owned by nobody else.
    let socket = unsafe {
        OwnedFd::from_raw_fd(check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        ))?)
    };
    // Leaves the choice of the port to connect(), which may reuse one towards another target.
    set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    let (from, to) = (c_address(SocketAddrV4::new(source, 0)), c_address(target));
    let length = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: `from` is a sockaddr_in of `length` bytes that outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const from).cast(), length) })?;
    // SAFETY: `to` is a sockaddr_in of `length` bytes that outlives the call.
    match check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from(socket)),
    }
}

fn c_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is `length` bytes long and outlives the call.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Makes closing the stream send RST, so that it leaves no TIME_WAIT behind.
///
/// # Errors
/// When the descriptor is no socket.
pub(super) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = mem::size_of_val(&linger) as libc::socklen_t;
    // SAFETY: `linger` is `length` bytes long and outlives the call.
    let result = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length)
    };
    check(result).map(drop)
}

/// An epoll instance, edge-triggered, for reading and writing at once.
pub(super) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Takes up to `batch` events at a time.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn new(batch: usize) -> io::Result<Self> {
        // SAFETY: epoll_create1 touches no memory; the descriptor is new and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; batch] })
    }

    /// Reports events of `stream` as `key` until it is closed.
    ///
    /// # Errors
    /// When it is already registered.
    pub(super) fn add(&self, stream: &TcpStream, key: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: interest as u32, u64: key };
        // SAFETY: `event` outlives the call.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event) };
        check(result).map(drop)
    }

    /// Waits for events, at most `timeout`, and appends their keys to `ready`.
    ///
    /// # Errors
    /// On kernels before 5.11, which have no `epoll_pwait2`.
    pub(super) fn wait(&mut self, timeout: Duration, ready: &mut Vec<u64>) -> io::Result<()> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: `events` has room for the given number of events; no signal mask is passed.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len(),
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        match usize::try_from(count) {
            Ok(count) => ready.extend(self.events.iter().take(count).map(|event| event.u64)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// `utime + stime` of this process in ticks of 10 ms.
    fn proc_ticks() -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace().collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    }

    #[test]
    fn process_clock_agrees_with_utime_plus_stime_of_proc() {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(120) {
            std::hint::spin_loop();
        }
        let ticks = proc_ticks();
        let clock = process_cpu(std::process::id()).expect("our own clock");
        let difference = clock.as_millis().abs_diff(u128::from(ticks) * 10);
        assert!(difference <= 40, "clock {clock:?} against {ticks} ticks");
    }

    #[test]
    fn connect_to_a_closed_port_is_refused() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let mut epoll = Epoll::new(4).expect("epoll");
        let stream = start_connect(Ipv4Addr::new(127, 0, 0, 2), SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let stream = stream.expect("connecting");
        epoll.add(&stream, 7).expect("register");
        let mut ready = Vec::new();
        epoll.wait(Duration::from_secs(1), &mut ready).expect("wait");
        assert_eq!(ready, [7]);
        let error = stream.take_error().expect("SO_ERROR").expect("an error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn waits_for_the_timeout_and_not_for_a_millisecond() {
        exact_timers();
        let mut epoll = Epoll::new(1).expect("epoll");
        let start = Instant::now();
        epoll.wait(Duration::from_micros(200), &mut Vec::new()).expect("wait");
        assert!(start.elapsed() >= Duration::from_micros(200));
    }
}
