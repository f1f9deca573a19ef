//! The programs that confine a cgroup: at the system calls, and at the packets of its sockets.
//!
//! Attached by `acp confine`, all of them or none, and pinned with their maps: they outlive whoever attached them.

use acp_ebpf::confine::{
    self, ALLOWED_MAX, Meta, Peer, REFUSALS_BYTES, Refusal, Way, count, hook, may_bind, may_create,
};
use acp_ebpf::packet::Frame;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::{bpf_get_socket_uid, bpf_skb_load_bytes};
use aya_ebpf::macros::{btf_map, cgroup_skb, cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, SockContext};

use super::{PASS, REFUSE, by_process, nobody, now_ns, peer4, peer6};

/// Who may be reached, and as what ([`confine::role`]). Written by user space before the programs are attached.
#[btf_map]
static CONFINE_ALLOWED: HashMap<Peer, u32, { ALLOWED_MAX as usize }> = HashMap::new();

/// Refusals, to whoever reports them.
#[btf_map]
static CONFINE_REFUSED: RingBuf<Refusal, { REFUSALS_BYTES as usize }> = RingBuf::new();

/// [`confine::count`].
#[btf_map]
static CONFINE_COUNTS: PerCpuArray<u64, { count::MAX as usize }> = PerCpuArray::new();

/// What this confinement is. No program reads it; it is pinned with the others.
#[btf_map]
static CONFINE_META: Array<Meta, 1> = Array::new();

#[cgroup_sock(sock_create)]
fn acp_confine_sock(ctx: SockContext) -> i32 {
    let (family, kind, protocol) = (field!(ctx.sock, family), field!(ctx.sock, type_), field!(ctx.sock, protocol));
    if may_create(kind, protocol) {
        return PASS;
    }
    let peer = Peer { address: [0; 16], port: 0, protocol: protocol as u16 };
    refuse(Refusal { family: family as u8, kind: kind as u8, ..by_process(hook::SOCKET, peer) })
}

#[cgroup_sock_addr(connect4)]
fn acp_confine_connect4(ctx: SockAddrContext) -> i32 {
    decide(hook::CONNECT, peer4(&ctx))
}

#[cgroup_sock_addr(connect6)]
fn acp_confine_connect6(ctx: SockAddrContext) -> i32 {
    decide(hook::CONNECT, peer6(&ctx))
}

#[cgroup_sock_addr(sendmsg4)]
fn acp_confine_send4(ctx: SockAddrContext) -> i32 {
    decide(hook::SEND, peer4(&ctx))
}

#[cgroup_sock_addr(sendmsg6)]
fn acp_confine_send6(ctx: SockAddrContext) -> i32 {
    decide(hook::SEND, peer6(&ctx))
}

#[cgroup_sock_addr(bind4)]
fn acp_confine_bind4(ctx: SockAddrContext) -> i32 {
    bind(&ctx, peer4(&ctx))
}

#[cgroup_sock_addr(bind6)]
fn acp_confine_bind6(ctx: SockAddrContext) -> i32 {
    bind(&ctx, peer6(&ctx))
}

#[cgroup_skb(egress)]
fn acp_confine_out(ctx: SkBuffContext) -> i32 {
    let peer = confine::packet_peer(&Packet(&ctx), Way::Out);
    if peer.is_some_and(is_allowed) {
        return PASS;
    }
    add(count::DROPPED_OUT);
    // SAFETY: the helper takes the packet that the program was called with.
    let uid = unsafe { bpf_get_socket_uid(ctx.skb.skb) };
    let peer = peer.unwrap_or(Peer { address: [0; 16], port: 0, protocol: 0 });
    record(Refusal { at_ns: now_ns(), uid, peer, ..nobody(hook::PACKET) });
    REFUSE
}

#[cgroup_skb(ingress)]
fn acp_confine_in(ctx: SkBuffContext) -> i32 {
    if confine::packet_peer(&Packet(&ctx), Way::In).is_some_and(is_allowed) {
        return PASS;
    }
    add(count::DROPPED_IN);
    REFUSE
}

struct Packet<'a>(&'a SkBuffContext);

impl Frame for Packet<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the helper checks the packet's bounds and writes N bytes into `bytes`.
        let rc = unsafe { bpf_skb_load_bytes(self.0.as_ptr(), offset, bytes.as_mut_ptr().cast(), N as u32) };
        (rc == 0).then_some(bytes)
    }
}

#[inline(always)]
fn is_allowed(peer: Peer) -> bool {
    CONFINE_ALLOWED.get_ptr(peer).is_some()
}

#[inline(always)]
fn decide(hook: u8, peer: Peer) -> i32 {
    if is_allowed(peer) { PASS } else { refuse(by_process(hook, peer)) }
}

#[inline(always)]
fn bind(ctx: &SockAddrContext, local: Peer) -> i32 {
    let kind = field!(ctx.sock_addr, type_);
    if may_bind(kind, local.port) { PASS } else { refuse(by_process(hook::BIND, local)) }
}

#[inline(always)]
fn refuse(refusal: Refusal) -> i32 {
    add(count::REFUSED);
    record(refusal);
    REFUSE
}

/// Wakes nobody: who reads looks by himself, and a loop of refusals must not cost more than itself.
#[inline(always)]
fn record(refusal: Refusal) {
    let Some(mut entry) = CONFINE_REFUSED.reserve(0) else {
        add(count::LOST);
        return;
    };
    entry.write(refusal);
    entry.submit(aya_ebpf::bindings::BPF_RB_NO_WAKEUP.into());
}

#[inline(always)]
fn add(counter: u32) {
    if let Some(slot) = CONFINE_COUNTS.get_ptr_mut(counter) {
        super::add_one(slot);
    }
}
