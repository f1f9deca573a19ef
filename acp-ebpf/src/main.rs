//! The programs: thin shells around the decisions of the library, built for `bpfel-unknown-none` only.
//!
//! - `acp_steer` (`sk_reuseport`) runs once per connection attempt on the gateway's port: refuses it, or picks a worker.
//! - `acp_ledger` (`sock_ops`, on the gateway's own cgroup) runs at each connection's opening and closing.
//! - `acp_drop` (XDP) and `acp_drop_tcx` (tcx, where XDP is not to be had) run on every frame of the interfaces that the
//!   operator names, do nothing while no penalty is silent, and then drop the SYNs of sources under one.
//! - what confines a cgroup is in `programs/confine.rs`, what holds the gateway's own connections in
//!   `programs/egress.rs`, what freezes a tenant's in `programs/quarantine.rs`.
//!
//! What they cost, and of what, is in docs/benchmarks.md ("The flood"). Where they do not run all the time, cold caches are
//! most of it: fewer places touched is what makes them faster, fewer instructions hardly. So penalties are not in a hash
//! map of the kernel's, each look-up in which touches half a dozen.
//!
//! What the verifier needs and the compiler does not know: context fields are read one by one with `read_volatile`,
//! because two adjacent 32-bit loads merged into one of 64 bits are refused as an invalid context access.

#![no_std]
#![no_main]

mod programs;

use core::mem::MaybeUninit;
use core::ptr;

use acp_ebpf::addr::{self, ETH_P_IP, ETH_P_IPV6, IPV4_SOURCE, IPV6_SOURCE};
use acp_ebpf::ledger::{self, Close, Opening, tcp};
use acp_ebpf::log::event;
use acp_ebpf::packet::{self, Frame, PLAIN, Plain};
use acp_ebpf::penalty;
use acp_ebpf::stats::{self, STATS_MAX};
use acp_ebpf::steer::{self, DRAINING, WORKERS_MAX, WorkerLoad};
use acp_ebpf::table::{self, ENTRIES, Slot, Slots, word};
use acp_ebpf::{ConnClosed, Penalty, SkState, SourceKey, Verdict, penalty_decide};
use aya_ebpf::bindings::{
    BPF_F_MMAPABLE, BPF_RB_NO_WAKEUP, BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG,
    BPF_SOCK_OPS_PARSE_HDR_OPT_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_LISTEN_CB, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_hdr_start_off,
    bpf_sock_ops, sk_action, xdp_action,
};
use aya_ebpf::btf_maps::{Array, PerCpuArray, ReusePortSockArray, RingBuf, SkStorage};
use aya_ebpf::helpers::{
    bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_sk_storage_get, bpf_skb_load_bytes, bpf_skb_load_bytes_relative,
    bpf_xdp_load_bytes,
};
use aya_ebpf::macros::{btf_map, classifier, sk_reuseport, sock_ops, xdp};
use aya_ebpf::programs::{SkReuseportContext, SockOpsContext, TcContext, XdpContext};
use aya_ebpf::{EbpfContext as _, Global};

use self::programs::log::say;
use self::programs::{add_one, now_ns, tick_ns};

/// Sources under penalty: see [`acp_ebpf::table`]. User space writes through a mapping, which also has slots begin where
/// cache lines do; the programs read, and `acp_ledger` spends the trickle in place.
#[btf_map]
static PENALTY: Array<Slot, { ENTRIES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Worker index → its listener. Written by user space.
#[btf_map]
static WORKERS: ReusePortSockArray<{ WORKERS_MAX as usize }> = ReusePortSockArray::new();

/// Worker index → its load. Written by the workers through a mapping, read by `acp_steer`.
#[btf_map]
static WORKER_LOAD: Array<WorkerLoad, { WORKERS_MAX as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Socket → what is bound to it. Made by the workers when they bind a tenant, freed with the socket.
#[btf_map]
static SK_STATE: SkStorage<SkState> = SkStorage::new();

/// When the connections opened that are open: see [`ledger::Opening`].
#[btf_map]
static OPENINGS: Array<u64, { ledger::OPENINGS as usize }> = Array::new();

/// Closed connections, to the control thread.
#[btf_map]
static EVENTS: RingBuf<ConnClosed, { ledger::EVENTS_BYTES as usize }> = RingBuf::new();

/// Counters, see [`acp_ebpf::stats`].
#[btf_map]
static STATS: PerCpuArray<u64, { STATS_MAX as usize }> = PerCpuArray::new();

/// Not zero while a penalty is silent. Written by user space; what keeps `acp_drop` from costing anything.
#[btf_map]
static SILENT: Array<u32, 1> = Array::new();

/// [`acp_ebpf::globals::WORKERS`].
#[unsafe(no_mangle)]
static ACP_WORKERS: Global<u32> = Global::new(0);

/// [`acp_ebpf::globals::PORT`].
#[unsafe(no_mangle)]
static ACP_PORT: Global<u32> = Global::new(0);

/// [`acp_ebpf::globals::SEED`].
#[unsafe(no_mangle)]
static ACP_SEED: Global<u64> = Global::new(0);

/// [`PENALTY`], to be looked into.
struct Penalties;

impl Slots for Penalties {
    type At = *mut Slot;

    #[inline(always)]
    fn at(&self, index: u32) -> Option<*mut Slot> {
        PENALTY.get_ptr_mut(index)
    }

    #[inline(always)]
    fn load(&self, at: *mut Slot, word: usize) -> u64 {
        // SAFETY: the map returned the pointer; user space stores whole words.
        unsafe { (&raw const (*at).0).cast::<u64>().add(word).read_volatile() }
    }
}

#[inline(always)]
fn penalty_of(source: SourceKey) -> Option<(*mut Slot, Penalty)> {
    table::find(&Penalties, ACP_SEED.load(), source)
}

/// Refuses a penalised source (SK_DROP: the client gets RST), or picks a worker. A packet whose source cannot be read
/// is steered: it has no penalty that could be found.
#[sk_reuseport]
fn acp_steer(ctx: SkReuseportContext) -> u32 {
    if let Some(source) = source(&ctx)
        && let Some((_, penalty)) = penalty_of(source)
        && matches!(penalty_decide(&penalty, tick_ns()), Verdict::Refuse | Verdict::Drop)
    {
        count(stats::REFUSED);
        say(event::REFUSED, source.0, 0, 0);
        return sk_action::SK_DROP;
    }
    steer(&ctx);
    sk_action::SK_PASS
}

/// Selects a listener; selecting none leaves the choice to the kernel's hash. Nothing here may loop: a loader without
/// CAP_PERFMON has the verifier follow what the processor might speculate, and that finds no end to a loop.
#[inline(always)]
fn steer(ctx: &SkReuseportContext) {
    let workers = ACP_WORKERS.load();
    if workers < 2 {
        return count(stats::UNSTEERED);
    }
    let chosen = steer::two_choices(random(), workers)
        .and_then(|(first, second)| steer::less_loaded((first, load(first)), (second, load(second))));
    match chosen {
        Some(worker) if WORKERS.select_reuseport(ctx, worker).is_ok() => {
            sent_to(worker);
            count(stats::STEERED);
        }
        _ => count(stats::UNSTEERED),
    }
}

#[inline(always)]
fn source(ctx: &SkReuseportContext) -> Option<SourceKey> {
    match u16::from_be(ctx.eth_protocol() as u16) {
        ETH_P_IP => header(ctx, IPV4_SOURCE).map(|[v4]| SourceKey::of_words(addr::v4_words(v4))),
        ETH_P_IPV6 => header(ctx, IPV6_SOURCE).map(SourceKey::of_words),
        _ => None,
    }
}

/// `N` words of the network header.
#[inline(always)]
fn header<const N: usize>(ctx: &SkReuseportContext, offset: u32) -> Option<[u32; N]> {
    let mut words = MaybeUninit::<[u32; N]>::uninit();
    // SAFETY: the helper checks the packet's bounds and writes as many bytes as `words` has.
    let rc = unsafe {
        bpf_skb_load_bytes_relative(
            ctx.as_ptr(),
            offset,
            words.as_mut_ptr().cast(),
            size_of::<[u32; N]>() as u32,
            bpf_hdr_start_off::BPF_HDR_START_NET,
        )
    };
    // SAFETY: it was written.
    (rc == 0).then(|| unsafe { words.assume_init() })
}

#[inline(always)]
fn load(worker: u32) -> u32 {
    let Some(of) = WORKER_LOAD.get_ptr(worker) else { return DRAINING };
    // SAFETY: the map returned the pointer; words are stored whole.
    let (connections, steered, seen) = unsafe {
        (
            (&raw const (*of).connections).read_volatile(),
            (&raw const (*of).steered).read_volatile(),
            (&raw const (*of).seen).read_volatile(),
        )
    };
    steer::load(connections, steered, seen)
}

#[inline(always)]
fn sent_to(worker: u32) {
    if let Some(load) = WORKER_LOAD.get_ptr_mut(worker) {
        // SAFETY: as above.
        unsafe {
            let steered = &raw mut (*load).steered;
            steered.write_volatile(steered.read_volatile().wrapping_add(1));
        }
    }
}

/// Drops the SYNs of silent penalties; lets pass whatever it cannot read.
#[xdp]
fn acp_drop(ctx: XdpContext) -> u32 {
    if is_silenced(&XdpFrame(&ctx)) { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// The same behind a driver, or another's program, that leaves no room for XDP. Who is passed on may still be seen by
/// other programs.
#[classifier]
fn acp_drop_tcx(ctx: TcContext) -> i32 {
    if is_silenced(&TcFrame(&ctx)) { TC_ACT_SHOT as i32 } else { TC_ACT_UNSPEC }
}

#[inline(always)]
fn is_silenced<F: Frame>(frame: &F) -> bool {
    let Some(silent) = SILENT.get_ptr(0) else { return false };
    // SAFETY: the map returned the pointer; user space stores whole words.
    if unsafe { silent.read_volatile() } == 0 {
        return false;
    }
    let Some(syn) = packet::syn(frame) else { return false };
    if u32::from(syn.port) != ACP_PORT.load() {
        return false;
    }
    let Some((_, penalty)) = penalty_of(SourceKey::of_words(syn.source)) else { return false };
    let dropped = penalty_decide(&penalty, tick_ns()) == Verdict::Drop;
    if dropped {
        count(stats::DROPPED);
        say(event::DROPPED, addr::from_words(syn.source), 0, 0);
    }
    dropped
}

/// What the frame's first bytes say, if so many lie between the two pointers of a context.
#[inline(always)]
fn in_place(data: usize, data_end: usize) -> Option<Plain> {
    if data + PLAIN > data_end {
        return None;
    }
    // SAFETY: the kernel keeps what lies between the context's pointers readable while the program runs, and the verifier
    // has seen the comparison above.
    Some(Plain::of(unsafe { &*(data as *const [u8; PLAIN]) }))
}

struct XdpFrame<'a>(&'a XdpContext);

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn plain(&self) -> Option<Plain> {
        in_place(self.0.data(), self.0.data_end())
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper checks the frame's bounds and writes N bytes into `bytes`.
        let rc = unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: it was written.
        (rc == 0).then(|| unsafe { bytes.assume_init() })
    }
}

struct TcFrame<'a>(&'a TcContext);

impl Frame for TcFrame<'_> {
    #[inline(always)]
    fn plain(&self) -> Option<Plain> {
        in_place(self.0.data(), self.0.data_end())
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: as above.
        let rc = unsafe { bpf_skb_load_bytes(self.0.skb.skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: it was written.
        (rc == 0).then(|| unsafe { bytes.assume_init() })
    }
}

/// Keeps the ledger. The return value of a `sock_ops` program is not used.
#[sock_ops]
fn acp_ledger(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => opened(&ctx),
        BPF_SOCK_OPS_STATE_CB => state_changed(&ctx),
        BPF_SOCK_OPS_PARSE_HDR_OPT_CB => segment_while_closing(&ctx),
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(&ctx),
        _ => {}
    }
    1
}

/// Reads one context field, see the module's documentation.
macro_rules! field {
    ($ctx:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (&raw const (*$ctx.ops).$($field)+).read_volatile() }
    };
}

#[inline(always)]
fn opened(ctx: &SockOpsContext) {
    if field!(ctx, local_port) != ACP_PORT.load() {
        return;
    }
    let now_ns = now_ns();
    if !note_opening(Opening::of(cookie(ctx)), now_ns) {
        let Some(state) = sk_state(ctx, BPF_SK_STORAGE_GET_F_CREATE.into()) else { return };
        // Nobody has a socket's storage before it is established: it was created now, of zeroes, which is all else that
        // [`SkState::opened`] has.
        // SAFETY: the pointer is the socket's own storage and the socket is locked.
        unsafe { (&raw mut (*state).opened_ns).write(now_ns) };
    }
    // An error would mean no close record, which `stats::OPENED` minus `stats::CLOSED` shows.
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    count(stats::OPENED);
    spend_trickle(SourceKey::of_words(remote(ctx)));
}

/// Remembers when a connection opened; `false` where another one's opening is in its place.
#[inline(always)]
fn note_opening(opening: Opening, now_ns: u64) -> bool {
    let Some(place) = OPENINGS.get_ptr_mut(opening.index) else { return false };
    // SAFETY: the map returned the pointer; words are read and stored whole.
    let is_free = unsafe { place.read_volatile() } == 0;
    if is_free {
        // SAFETY: as above.
        unsafe { place.write_volatile(opening.word(now_ns)) };
    }
    is_free
}

/// When a connection that closes opened, if that is remembered, which it is no longer then.
#[inline(always)]
fn forget_opening(opening: Opening) -> Option<u64> {
    let place = OPENINGS.get_ptr_mut(opening.index)?;
    // SAFETY: as above.
    let opened_ns = opening.opened_ns(unsafe { place.read_volatile() })?;
    // SAFETY: as above.
    unsafe { place.write_volatile(0) };
    Some(opened_ns)
}

/// Counts an established connection against its source's open window. Two CPUs may count two connections as one: the
/// target has no compare-and-swap, and the count only has to close the gate early. User space, which decides the same
/// way at accept, counts exactly and resets what was too many.
#[inline(always)]
fn spend_trickle(source: SourceKey) {
    let Some((slot, read)) = penalty_of(source) else { return };
    let now_ns = tick_ns();
    if penalty_decide(&read, now_ns) != Verdict::Trickle {
        return;
    }
    if let Some(spent) = penalty::spend(read.trickle, penalty::cycle(read.since_ns, now_ns), read.open_max) {
        // SAFETY: the map returned the pointer; a word is stored whole.
        unsafe { (&raw mut (*slot).0).cast::<u64>().add(word::TRICKLE).write_volatile(spent) };
        say(event::LET_THROUGH, source.0, 0, spent as u32);
    }
}

#[inline(always)]
fn state_changed(ctx: &SockOpsContext) {
    let (old, new) = (field!(ctx, __bindgen_anon_1.args[0]), field!(ctx, __bindgen_anon_1.args[1]));
    match new {
        // From here on look at each segment for the peer's FIN, which the state alone does not tell.
        tcp::FIN_WAIT1 => {
            let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG) as i32);
        }
        tcp::CLOSE => closed(ctx, old),
        _ => {}
    }
}

#[inline(always)]
fn segment_while_closing(ctx: &SockOpsContext) {
    const FIN: u32 = 1;
    if field!(ctx, skb_tcp_flags) & FIN == 0 {
        return;
    }
    if let Some(state) = sk_state(ctx, BPF_SK_STORAGE_GET_F_CREATE.into()) {
        // SAFETY: the pointer is the socket's own storage and the socket is locked; user space binds before it closes.
        unsafe { (*state).flags |= ledger::PEER_FIN };
    }
}

#[inline(always)]
fn closed(ctx: &SockOpsContext, old_state: u32) {
    let now_ns = now_ns();
    let (cookie, state) = (cookie(ctx), sk_state(ctx, 0));
    // SAFETY: the pointer is the socket's own storage.
    let state = state.map_or(SkState::opened(0), |state| unsafe { state.read_volatile() });
    let opened_ns = forget_opening(Opening::of(cookie)).unwrap_or(state.opened_ns);
    let all_acked = field!(ctx, snd_una) == field!(ctx, snd_nxt);
    let close = Close { old_state, flags: state.flags, all_acked };
    let Some(mut entry) = EVENTS.reserve(0) else {
        count(stats::LOST);
        say(event::UNRECORDED, addr::from_words(remote(ctx)), 0, 0);
        return;
    };
    entry.write(ConnClosed {
        cookie,
        bytes_in: close.bytes_in(field!(ctx, bytes_received)),
        bytes_acked: close.bytes_acked(field!(ctx, bytes_acked)),
        opened_ns,
        duration_ns: now_ns.saturating_sub(opened_ns),
        remote: addr::from_words(remote(ctx)),
        local: addr::from_words(local(ctx)),
        tenant: state.tenant,
        flags: state.flags,
        srtt_us: field!(ctx, srtt_us) >> 3,
        segs_in: field!(ctx, segs_in),
        segs_out: field!(ctx, segs_out),
        retrans: field!(ctx, total_retrans),
        // Network order in the upper half (`sock_ops_convert_ctx_access`, net/core/filter.c, little-endian).
        remote_port: u32::from_be(field!(ctx, remote_port)) as u16,
        local_port: field!(ctx, local_port) as u16,
        audited_in: state.audited_in,
    });
    entry.submit(BPF_RB_NO_WAKEUP.into());
    count(stats::CLOSED);
}

/// The loader's self-test opens a listener after it attached, and looks for this count.
#[inline(always)]
fn listening(ctx: &SockOpsContext) {
    count(stats::LISTENING);
    say(event::LISTENING, addr::from_words(local(ctx)), field!(ctx, local_port) as u16, 0);
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context is the one this program was called with.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

#[inline(always)]
fn remote(ctx: &SockOpsContext) -> addr::Words {
    let v4 = field!(ctx, remote_ip4);
    let v6 = [
        field!(ctx, remote_ip6[0]),
        field!(ctx, remote_ip6[1]),
        field!(ctx, remote_ip6[2]),
        field!(ctx, remote_ip6[3]),
    ];
    address(ctx, v4, v6)
}

#[inline(always)]
fn local(ctx: &SockOpsContext) -> addr::Words {
    let v4 = field!(ctx, local_ip4);
    let v6 =
        [field!(ctx, local_ip6[0]), field!(ctx, local_ip6[1]), field!(ctx, local_ip6[2]), field!(ctx, local_ip6[3])];
    address(ctx, v4, v6)
}

/// The address of the socket's family, both having been read: reading in the branches lets the compiler compute the
/// field's address first, and the verifier refuses a context pointer that was added to.
#[inline(always)]
fn address(ctx: &SockOpsContext, v4: u32, v6: addr::Words) -> addr::Words {
    if field!(ctx, family) == AF_INET { addr::v4_words(v4) } else { v6 }
}

const AF_INET: u32 = 2;

/// The storage of the context's socket, if it has one, or could be given one.
#[inline(always)]
fn sk_state(ctx: &SockOpsContext, flags: u64) -> Option<*mut SkState> {
    let ops: *mut bpf_sock_ops = ctx.ops;
    // SAFETY: the kernel hands the program a valid context.
    let sk = unsafe { (&raw const (*ops).__bindgen_anon_2.sk).read_volatile() };
    if sk.is_null() {
        return None;
    }
    let map = ptr::from_ref(&SK_STATE).cast_mut().cast();
    // SAFETY: `map` is a socket storage map and `sk` a socket that was checked for null.
    let state = unsafe { bpf_sk_storage_get(map, sk.cast(), ptr::null_mut(), flags) };
    (!state.is_null()).then(|| state.cast())
}

#[inline(always)]
fn count(counter: u32) {
    if let Some(slot) = STATS.get_ptr_mut(counter) {
        add_one(slot);
    }
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_prandom_u32() }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel has a list of licence strings it takes for GPL-compatible; MIT, the half of the gateway's licence that is
/// on it, stands there in this form only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
