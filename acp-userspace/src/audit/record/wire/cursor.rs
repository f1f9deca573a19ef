//! The two cursors over an entry's bytes: [`Writer`] cuts what does not fit, [`Reader`] answers `None` for it.

use super::*;

/// Most elements of one list.
const LIST_MAX: usize = 64;
/// What stands for no reason.
const NO_REASON: u8 = u8::MAX;

/// Writes an entry. `limit` is the entry's bound; single fields always fit below it (see [`TEXT_BYTES_MAX`]).
pub(super) struct Writer<'b> {
    buf: &'b mut [u8],
    at: usize,
    truncated: bool,
}

/// Where the `truncated` byte lies, once lists have been written.
pub(super) struct Flag(usize);

impl<'b> Writer<'b> {
    pub(super) fn new(buf: &'b mut [u8], limit: usize) -> Self {
        let limit = limit.min(buf.len());
        Self { buf: &mut buf[..limit], at: 0, truncated: false }
    }

    pub(super) fn len(&self) -> usize {
        self.at
    }

    pub(super) fn flag(&mut self) -> Flag {
        let flag = Flag(self.at);
        self.u8(0);
        flag
    }

    pub(super) fn finish(self, flag: Flag) -> usize {
        if let Some(byte) = self.buf.get_mut(flag.0) {
            *byte = u8::from(self.truncated);
        }
        self.at
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(room) = self.buf.get_mut(self.at..end) {
            room.copy_from_slice(bytes);
            self.at = end;
        } else {
            self.truncated = true;
        }
    }

    #[inline]
    pub(super) fn u8(&mut self, n: u8) {
        self.bytes(&[n]);
    }

    #[inline]
    pub(super) fn u16(&mut self, n: u16) {
        self.bytes(&n.to_le_bytes());
    }

    #[inline]
    pub(super) fn u32(&mut self, n: u32) {
        self.bytes(&n.to_le_bytes());
    }

    #[inline]
    pub(super) fn u64(&mut self, n: u64) {
        self.bytes(&n.to_le_bytes());
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        self.u16(text.len() as u16);
        self.bytes(text.as_bytes());
    }

    pub(super) fn moment(&mut self, id: RequestId, now: Now) {
        self.bytes(&id.0);
        self.u64(now.wall_ns);
        self.u64(now.mono_ns);
    }

    pub(super) fn peer(&mut self, peer: &Peer) {
        let ip = match peer.address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.bytes(&ip.octets());
        self.u16(peer.address.port());
        self.u64(peer.cookie);
        self.u32(peer.tenant_slot);
    }

    pub(super) fn who(&mut self, who: Option<&Who<'_>>) {
        let Some(who) = who else { return self.u8(0) };
        self.u8(1);
        self.u8(who.method as u8);
        for key in [who.tenant_key, who.user_key, who.token_hash] {
            self.bytes(&key.0);
        }
        for text in [who.tenant, who.issuer, who.subject, who.client.unwrap_or(""), who.key_id] {
            self.text(text);
        }
    }

    pub(super) fn call(&mut self, call: &super::super::Call<'_>) {
        for text in [call.route, call.path, call.tool, call.verb] {
            self.text(text);
        }
    }

    pub(super) fn key(&mut self, key: Option<Key128>) {
        self.u8(u8::from(key.is_some()));
        if let Some(key) = key {
            self.bytes(&key.0);
        }
    }

    pub(super) fn digest(&mut self, digest: Option<KeyedDigest>) {
        self.u8(u8::from(digest.is_some()));
        if let Some(digest) = digest {
            self.u32(digest.key_id);
            self.bytes(&digest.digest);
        }
    }

    pub(super) fn versions(&mut self, versions: &Versions) {
        self.bytes(&versions.config);
        self.bytes(&versions.policy);
        self.u64(versions.keys);
        self.u64(versions.snapshot);
    }

    pub(super) fn latency(&mut self, l: &Latency) {
        for ns in [l.head, l.identity, l.body, l.safety, l.policy, l.usage, l.routing] {
            self.u64(ns);
        }
    }

    /// A list: its length in bytes, then what `put` wrote for each item that fits.
    fn list<T>(&mut self, items: impl Iterator<Item = T>, size: impl Fn(&T) -> usize, put: impl Fn(&mut Self, T)) {
        let start = self.at;
        self.u16(0);
        for (n, item) in items.enumerate() {
            // Two bytes stay free for each of the at most four lists that follow.
            if n == LIST_MAX || self.at + size(&item) + 8 > self.buf.len() {
                self.truncated = true;
                break;
            }
            put(self, item);
        }
        let len = (self.at - start).saturating_sub(2) as u16;
        if let Some(room) = self.buf.get_mut(start..start + 2) {
            room.copy_from_slice(&len.to_le_bytes());
        }
    }

    pub(super) fn texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        self.list(texts, |text| 2 + text.len(), |w, text| w.text(text));
    }

    pub(super) fn parts(&mut self, parts: &[HoldPart]) {
        self.list(
            parts.iter(),
            |_| lists::PART_BYTES,
            |w, part| {
                w.bytes(&part.budget.0);
                w.u64(part.lease);
                w.u64(part.held_microusd);
            },
        );
    }

    /// Score, numbers that became strings, why it passed unsearched, findings, places.
    pub(super) fn found(&mut self, findings: &[Finding], evidence: &Evidence) {
        self.u8(evidence.score);
        self.u32(evidence.numbers_to_text);
        self.u8(evidence.unscreened.map_or(NO_REASON, |reason| reason as u8));
        self.list(
            findings.iter(),
            |_| lists::FINDING_BYTES,
            |w, f| {
                w.bytes(&[f.detector as u8, action_code(f.action), u8::from(f.mode == Mode::Observe), f.confidence]);
                w.u32(f.count);
            },
        );
        self.places(&evidence.places);
    }

    fn places(&mut self, places: &[FoundAt]) {
        let printable = |found: &FoundAt| (found.detector, CallerText::new(&found.place).printable().into_owned());
        self.list(
            places.iter().map(printable),
            |(_, place)| 3 + place.len(),
            |w, (detector, place)| {
                w.u8(detector as u8);
                w.text(&place);
            },
        );
    }

    pub(super) fn would(&mut self, would: &[WouldBe<'_>]) {
        self.list(
            would.iter(),
            |w| 4 + w.rule.len(),
            |w, would| {
                w.u8(would.layer as u8);
                w.u8(would.reason as u8);
                w.text(would.rule);
            },
        );
    }
}

const fn action_code(action: ContentAction) -> u8 {
    match action {
        ContentAction::Flag => 0,
        ContentAction::Mask => 1,
        ContentAction::Redact => 2,
        ContentAction::Block => 3,
        ContentAction::Tokenize => 4,
        ContentAction::Pseudonymize => 5,
        ContentAction::Detokenize => 6,
    }
}

pub(super) const fn action_of(code: u8) -> Option<ContentAction> {
    match code {
        0 => Some(ContentAction::Flag),
        1 => Some(ContentAction::Mask),
        2 => Some(ContentAction::Redact),
        3 => Some(ContentAction::Block),
        4 => Some(ContentAction::Tokenize),
        5 => Some(ContentAction::Pseudonymize),
        6 => Some(ContentAction::Detokenize),
        _ => None,
    }
}

/// Reads an entry; every method answers `None` past the end or for a number that means nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[n]| n)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        std::str::from_utf8(self.take(usize::from(len))?).ok()
    }

    pub(super) fn moment(&mut self) -> Option<(RequestId, Now)> {
        Some((RequestId(self.array()?), Now { wall_ns: self.u64()?, mono_ns: self.u64()? }))
    }

    pub(super) fn peer(&mut self) -> Option<Peer> {
        let ip = IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)).to_canonical();
        Some(Peer { address: SocketAddr::new(ip, self.u16()?), cookie: self.u64()?, tenant_slot: self.u32()? })
    }

    pub(super) fn who(&mut self) -> Option<Option<Who<'a>>> {
        if self.u8()? == 0 {
            return Some(None);
        }
        let method = *AuthMethod::ALL.get(usize::from(self.u8()?))?;
        let [tenant_key, user_key, token_hash] = [self.array()?, self.array()?, self.array()?].map(Key128);
        let [tenant, issuer, subject, client, key_id] =
            [self.text()?, self.text()?, self.text()?, self.text()?, self.text()?];
        let client = Some(client).filter(|client| !client.is_empty());
        Some(Some(Who { tenant, issuer, subject, client, key_id, tenant_key, user_key, token_hash, method }))
    }

    pub(super) fn key(&mut self) -> Option<Option<Key128>> {
        if self.u8()? == 0 { Some(None) } else { self.array().map(|key| Some(Key128(key))) }
    }

    pub(super) fn digest(&mut self) -> Option<Option<KeyedDigest>> {
        if self.u8()? == 0 {
            return Some(None);
        }
        Some(Some(KeyedDigest { key_id: self.u32()?, digest: self.array()? }))
    }

    pub(super) fn versions(&mut self) -> Option<Versions> {
        Some(Versions { config: self.array()?, policy: self.array()?, keys: self.u64()?, snapshot: self.u64()? })
    }

    pub(super) fn latency(&mut self) -> Option<Latency> {
        Some(Latency {
            head: self.u64()?,
            identity: self.u64()?,
            body: self.u64()?,
            safety: self.u64()?,
            policy: self.u64()?,
            usage: self.u64()?,
            routing: self.u64()?,
        })
    }

    /// A reason or none.
    pub(super) fn unscreened(&mut self) -> Option<Option<Reason>> {
        match self.u8()? {
            NO_REASON => Some(None),
            code => Reason::ALL.get(usize::from(code)).copied().map(Some),
        }
    }

    pub(super) fn reason(&mut self) -> Option<Reason> {
        Reason::ALL.get(usize::from(self.u8()?)).copied()
    }

    pub(super) fn layer(&mut self) -> Option<Layer> {
        Layer::ALL.get(usize::from(self.u8()?)).copied()
    }

    fn list(&mut self) -> Option<Self> {
        let len = self.u16()?;
        self.take(usize::from(len)).map(Self)
    }

    pub(super) fn texts(&mut self) -> Option<Texts<'a>> {
        self.list().map(Texts)
    }

    pub(super) fn parts(&mut self) -> Option<Parts<'a>> {
        self.list().map(Parts)
    }

    pub(super) fn findings(&mut self) -> Option<Findings<'a>> {
        self.list().map(Findings)
    }

    pub(super) fn places(&mut self) -> Option<Places<'a>> {
        self.list().map(Places)
    }

    pub(super) fn would(&mut self) -> Option<WouldBes<'a>> {
        self.list().map(WouldBes)
    }
}
