//! What the file says: its sections and keys, each with meaning, default and the reason for the default.
//!
//! docs/configuration.md is rendered from these declarations and a test keeps the two equal. What the values mean
//! together is judged in [`super::resolve`].

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::mistake::{At, Collector};
use super::read::Fallback::{Absent, Required, Toml};
use super::read::{FromToml, Key, Money, Size, choice, section};
use super::resolved::{
    Cidr, ClientAddresses, ContentAction, ContentCoding, Direction, Driver, Durability, KernelMode, Mode, Per, Protocol,
};

section! {
    /// The whole file.
    File {
        /// Where clients connect, and the bounds on what they may send.
        listen: Listen = Toml("{}"), "";
        /// Whose tokens are believed.
        identity: Identity = Toml("{}"), "";
        /// Content rules.
        safety: Safety = Toml("{}"), "";
        /// Cedar policies.
        policy: Policy = Toml("{}"), "";
        /// Limits, budgets, loop guard.
        usage: Usage = Toml("{}"), "";
        /// A backend.
        upstream: Vec<Key<Upstream>> = Toml("[]"), "";
        /// A path prefix and what is behind it.
        route: Vec<Key<Route>> = Toml("[]"), "";
        /// The audit log.
        audit: Audit = Toml("{}"), "";
        /// The kernel plane.
        kernel: Kernel = Toml("{}"), "";
        /// Health, metrics and the admin socket.
        admin: Admin = Toml("{}"), "";
    }
}

section! {
    /// `[listen]`.
    Listen {
        /// Address and port that every worker listens on.
        address: SocketAddr = Required, "there is no safe guess";
        /// The URL that clients use. Audience checks and metadata are built from it, never from the Host field.
        public_url: String = Required, "a guess from the Host field could be forged";
        /// Not available yet: a configuration with it is refused, never served in clear. Terminate TLS in front.
        tls: Option<NotYet> = Absent, "";
        /// Proxies whose word for the client's address is believed: X-Forwarded-For, read from the right. As sources they are inert for the kernel.
        trusted_proxies: Vec<Key<Cidr>> = Toml("[]"), "whoever may set the client's address may hide behind another's";
        /// Connections from `trusted_proxies` begin with a PROXY protocol header, version 2; one that does not is closed.
        proxy_protocol: bool = Toml("false"), "a balancer that passes bytes through would let clients write the header";
        /// Worker threads, one per core; 0 = every core the process may run on.
        workers: u64 = Toml("0"), "one pinned thread per core is what the data path is built for";
        /// `auto` = io_uring as far as the kernel has it; `epoll` does without.
        driver: Driver = Toml("\"auto\""), "io_uring takes a quarter less CPU per request";
        /// Bytes of a request or response head.
        head_bytes_max: Size = Toml("\"16 KiB\""), "twice nginx's 8 KiB, for tokens that carry many scopes";
        /// Fields of a head.
        headers_max: u64 = Toml("64"), "SDKs send 10 to 25; each field costs a look in every layer";
        /// Bytes of a request body, unless the route says otherwise.
        body_bytes_max: Size = Toml("\"8 MiB\""), "a long chat with documents; every byte of it is scanned";
        /// Connections over all workers; further ones are closed at accept, and those of a source that holds a quarter as
        /// many as are free.
        connections_max: u64 = Toml("10000"), "each holds two descriptors while its upstream works";
        /// Bytes of bodies buffered over all workers.
        buffered_bytes_max: Size = Toml("\"256 MiB\""), "32 bodies of the largest size at once";
        /// The same for one tenant.
        buffered_bytes_per_tenant_max: Size = Toml("\"64 MiB\""), "a quarter of the whole: four have to collude";
        /// From the first byte of a request, or from accept, to the end of its head.
        head_timeout: Duration = Toml("\"10s\""), "a head is one packet or two; slower is an attack or a dead peer";
        /// For the whole body.
        body_timeout: Duration = Toml("\"30s\""), "8 MiB at 2.2 Mbit/s";
        /// Between requests of a kept-alive connection.
        idle_timeout: Duration = Toml("\"75s\""), "nginx's; client pools that give up at 60 s close first";
        /// For a client to take the bytes of one write.
        write_timeout: Duration = Toml("\"30s\""), "a stalled reader holds a buffer";
        /// Unread body that is drained after an early answer; with more to come the connection closes.
        drain_bytes_max: Size = Toml("\"64 KiB\""), "cheaper to read than a new connection is to make";
        /// From SIGTERM until open connections are cut.
        drain_timeout: Duration = Toml("\"30s\""), "the grace period of common orchestrators";
    }
}

/// A key that is refused whatever it holds.
#[derive(Debug)]
pub(super) struct NotYet;

impl FromToml for NotYet {
    fn type_name() -> String {
        "section".to_owned()
    }
    fn read(_: &DeValue<'_>, _: &At, _: &mut Collector) -> Option<Self> {
        Some(Self)
    }
    fn stand_in(_: &At) -> Self {
        Self
    }
}

choice!(Driver: "auto" => Driver::Auto, "epoll" => Driver::Epoll);

section! {
    /// `[identity]`.
    Identity {
        /// A trusted issuer; at least one.
        issuer: Vec<Key<Issuer>> = Toml("[]"), "";
        /// Largest `exp - iat` of a token.
        token_lifetime_max: Duration = Toml("\"24h\""), "bounds how long a revocation has to be remembered";
        /// Clock leeway on `exp` and `nbf`.
        leeway: Duration = Toml("\"30s\""), "synchronised clocks differ by less than a second; a minute helps thieves";
        /// Not ready while the kernel says that nobody keeps the host's clock right.
        require_sync: bool = Toml("false"), "many hosts are kept right by their hypervisor, which the kernel cannot know";
        /// URL of the protected resource metadata (RFC 9728), which challenges name; served beside the gateway, not by it.
        resource_metadata: Option<String> = Absent, "challenges name none";
        /// Entries of each core's cache of verified tokens.
        cache_entries: u64 = Toml("8192"), "as many users at once on one core, a kilobyte or two each; a miss costs one RS256 verification";
    }
}

section! {
    /// `[[identity.issuer]]`.
    Issuer {
        /// Stable name of the entry, part of every tenant and user id.
        name: Option<String> = Absent, "the issuer URL";
        /// Exact `iss` of its tokens.
        issuer: String = Required, "";
        /// Audiences; a token needs one of them.
        audience: Vec<Key<String>> = Required, "a token for another service must not open this one";
        /// `"discovery"`, a JWKS URL, or a file.
        jwks: String = Toml("\"discovery\""), "the issuer's own metadata names its keys";
        /// Which claims mean what.
        claims: Claims = Toml("{}"), "";
        /// Tenants that it may assert; `["*"]` = any, with a single issuer only.
        tenants: Option<Vec<Key<String>>> = Absent, "`[\"*\"]` with a single issuer; required with several";
        /// The one tenant that all its tokens belong to, whatever they claim.
        tenant: Option<String> = Absent, "";
        /// CIDRs that the issuer's own host may resolve into although private.
        allow_private: Vec<Key<Cidr>> = Toml("[]"), "key URLs pass the same address rules as upstreams";
    }
}

section! {
    /// `[identity.issuer.claims]`.
    Claims {
        /// Claim of the tenant.
        tenant: String = Toml("\"org_id\""), "Auth0's";
        /// Claim of the scopes: text separated by spaces, or a list.
        scopes: String = Toml("\"scope\""), "RFC 9068 §2.2.3";
        /// Claim of the roles, likewise.
        roles: String = Toml("\"roles\""), "RFC 9068 §2.2.3.1";
        /// Claims that policies see under `principal.claims`.
        custom: Vec<Key<String>> = Toml("[]"), "a claim nobody reads need not be kept";
    }
}

section! {
    /// `[safety]`.
    Safety {
        /// A content rule; of several that match a finding the strictest acts.
        rule: Vec<Key<SafetyRule>> = Toml("[]"), "";
        /// Risk score, 1 to 100, from which on content is refused whatever its findings' own rules say.
        block_score: Option<u64> = Absent, "the score is recorded and refuses nothing";
        /// `observe` records what `block_score` would have refused.
        score_mode: Mode = Toml("\"enforce\""), "";
        /// A form of a type of the operator's own.
        detector: Vec<Key<CustomDetector>> = Toml("[]"), "";
        /// What `tokenize` and `pseudonymize` make tokens with.
        tokens: Tokens = Toml("{}"), "";
        /// A permit to turn tokens back on their way to a tool.
        detokenize: Vec<Key<Detokenize>> = Toml("[]"), "";
    }
}

section! {
    /// `[[safety.detector]]`.
    CustomDetector {
        /// `custom1` to `custom8`: what rules, records, policies and tokens know it by. A type may have several forms.
        r#type: String = Required, "";
        /// Its form, as Rust's regex crate has it: no look-around, no back references. A match has 4 to 256 bytes.
        regex: String = Required, "";
        /// Words one of which has to stand in the 48 bytes before a match, or in the name of its JSON member.
        context: Vec<Key<String>> = Toml("[]"), "the form says enough";
        /// Name of a validator that a match has to pass: `LUHN`, `IBAN`, …
        validator: Option<String> = Absent, "the form is enough";
        /// How sure a match is, percent.
        confidence: u64 = Toml("80"), "a form that somebody wrote down on purpose";
    }
}

section! {
    /// `[safety.tokens]`.
    Tokens {
        /// A master key; the first makes tokens, all of them turn tokens back.
        key: Vec<Key<TokenKey>> = Toml("[]"), "";
        /// Distinct values that one subject may have made tokens in an hour; more are refused.
        values_per_hour: u64 = Toml("1000"), "a busy agent's; who may ask for the token of any guess could search nine digits";
    }
}

section! {
    /// `[[safety.tokens.key]]`.
    TokenKey {
        /// Its id, part of every token it makes: up to 16 of a to z and 0 to 9.
        id: String = Required, "";
        /// File with 32 random bytes as 64 hexadecimal digits, not readable by others.
        file: Option<String> = Absent, "";
        /// Name of a systemd credential (`LoadCredential=`) instead of a file.
        credential: Option<String> = Absent, "";
    }
}

section! {
    /// `[[safety.detokenize]]`.
    Detokenize {
        /// Stable id, for records.
        id: Option<String> = Absent, "`safety.detokenize.N`, from 0";
        /// Types, and groups of types, whose values may be had.
        detect: Vec<Key<String>> = Required, "";
        /// Ids of the tools that get them.
        tools: Vec<Key<String>> = Required, "";
        /// Where in the arguments: JSON pointers, in which `*` stands for any one key or position.
        pointers: Vec<Key<String>> = Required, "a value is for one field, not for wherever a model puts it";
        /// Roles whose calls carry the values.
        roles: Vec<Key<String>> = Toml("[]"), "roles or subjects have to be named";
        /// Subjects whose calls do.
        subjects: Vec<Key<String>> = Toml("[]"), "as for roles";
        /// Tenants it is limited to, as tokens claim them; none = all.
        tenants: Vec<Key<String>> = Toml("[]"), "each gets only its own values back in any case";
    }
}

section! {
    /// `[[safety.rule]]`.
    SafetyRule {
        /// Stable id, for records.
        id: Option<String> = Absent, "`safety.rule.N`, from 0";
        /// What it looks for: types and groups of types, as docs/content-safety.md lists them.
        detect: Vec<Key<String>> = Required, "";
        /// What happens then.
        action: ContentAction = Required, "";
        /// Least confidence of a finding that it acts on, percent.
        min_confidence: u64 = Toml("0"), "what may be personal is treated as if it were";
        /// Which way.
        direction: Direction = Toml("\"both\""), "what may not leave may not come back";
        /// Names of the routes it is limited to; none = all.
        routes: Vec<Key<String>> = Toml("[]"), "a rule that has to be repeated is a rule forgotten";
        /// Ids of the tools it is limited to; none = all.
        tools: Vec<Key<String>> = Toml("[]"), "as for routes";
        /// Tenants it is limited to, as tokens claim them; none = all.
        tenants: Vec<Key<String>> = Toml("[]"), "as for routes";
        /// Names of the upstreams it is limited to; none = all.
        upstreams: Vec<Key<String>> = Toml("[]"), "as for routes";
        /// `observe` records what the rule would have done.
        mode: Mode = Toml("\"enforce\""), "";
    }
}

choice!(ContentAction: "flag" => ContentAction::Flag, "mask" => ContentAction::Mask,
    "pseudonymize" => ContentAction::Pseudonymize, "tokenize" => ContentAction::Tokenize,
    "redact" => ContentAction::Redact, "block" => ContentAction::Block);
choice!(Direction: "request" => Direction::Request, "response" => Direction::Response, "both" => Direction::Both);
choice!(Mode: "enforce" => Mode::Enforce, "observe" => Mode::Observe);

section! {
    /// `[policy]`.
    Policy {
        /// Cedar files; `*` stands for any text in the last part of a path. Read in sorted order.
        files: Vec<Key<String>> = Toml("[]"), "";
        /// The built-in rule that permits a call to holders of the scope `tool:<name>:<verb>`.
        scope_rule: bool = Toml("true"), "a start without a policy of one's own; visible in `acp policy`";
        /// `observe` records denials and lets calls pass.
        mode: Mode = Toml("\"enforce\""), "";
    }
}

section! {
    /// `[usage]`.
    Usage {
        /// A rate limit.
        rate_limit: Vec<Key<RateLimit>> = Toml("[]"), "";
        /// A budget.
        budget: Vec<Key<Budget>> = Toml("[]"), "";
        /// The guard against identical calls.
        loop_guard: Option<LoopGuard> = Absent, "";
        /// Denied requests of a subject per minute, before denials are answered 429.
        denials_per_minute: u64 = Toml("60"), "an agent that is refused once a second has not understood";
        /// Slots of the limiter tables, over all tenants.
        slots: u64 = Toml("65536"), "one per active subject and limit, about 260 B each: 16 MiB";
        /// Percent of the slots that one tenant may hold.
        slots_tenant_share_percent: u64 = Toml("25"), "a tenant that makes up subjects cannot push out others";
        /// Priced calls that one user may have in flight where a budget exists.
        calls_in_flight_max: u64 = Toml("64"), "a busy client's connections; more would park a budget in open holds";
        /// Percent of a tenant budget's remainder that one user's open holds may take.
        holds_user_share_percent: u64 = Toml("25"), "nobody parks a tenant's whole budget; a lone call is exempt";
        /// Where the spend ledger lives.
        ledger: String = Toml("\"/var/lib/acp/ledger.redb\""), "systemd's StateDirectory";
    }
}

section! {
    /// `[[usage.rate_limit]]`.
    RateLimit {
        /// Stable id, and the policy's name in `RateLimit-Policy`.
        id: Option<String> = Absent, "`user` or `tenant`, numbered when repeated";
        /// Whom it counts.
        per: Per = Required, "";
        /// Requests per window.
        requests: u64 = Required, "";
        /// The window.
        window: Duration = Required, "";
        /// Requests admitted at once.
        burst: Option<u64> = Absent, "`requests`";
        /// `observe` records what the limit would have refused.
        mode: Mode = Toml("\"enforce\""), "";
        /// Whether a declared source that ignores this limit's 429s is refused by the kernel.
        kernel: bool = Toml("true"), "the source was declared to be the tenant's own";
    }
}

section! {
    /// `[[usage.budget]]`.
    Budget {
        /// Stable id: spend survives edits of the cap by it.
        id: Option<String> = Absent, "`user` or `tenant`, numbered when repeated";
        /// Whose spend.
        per: Per = Required, "";
        /// Cap per period.
        max_spend: Money = Required, "";
        /// Length of a period; periods are aligned to the Unix epoch.
        period: Duration = Toml("\"30d\""), "a month that is always as long";
        /// `observe` records what the budget would have refused.
        mode: Mode = Toml("\"enforce\""), "";
    }
}

section! {
    /// `[usage.loop_guard]`.
    LoopGuard {
        /// Identical calls of one human within the window that make a loop.
        identical_calls: u64 = Required, "";
        /// The window.
        window: Duration = Required, "";
        /// `observe` records the loops.
        mode: Mode = Toml("\"enforce\""), "";
        /// Identical calls that one user goes on with inside their own `Retry-After`, within a minute, before its tenant is put in quarantine.
        quarantine_after: Option<u64> = Absent, "never: it freezes everybody of the tenant";
        /// How long that quarantine lasts.
        quarantine_for: Duration = Toml("\"10m\""), "time for somebody to look; it is lifted by hand at any moment";
    }
}

choice!(Per: "user" => Per::User, "tenant" => Per::Tenant);

section! {
    /// `[[upstream]]`.
    Upstream {
        /// Name, for routes to refer to.
        name: String = Required, "";
        /// `http://host[:port][/base]`. `https` is not available yet and is refused, never sent in clear.
        url: String = Required, "";
        /// CIDRs that this upstream may resolve into although private. Never loopback, link-local or metadata.
        allow_private: Vec<Key<Cidr>> = Toml("[]"), "a name that suddenly resolves inside is how gateways are abused";
        /// Loopback addresses it may resolve into, each with its port.
        allow_loopback: Vec<Key<SocketAddr>> = Toml("[]"), "loopback is where admin ports live";
        /// What the gateway presents to it.
        credentials: Credentials = Toml("{}"), "";
        /// To connect.
        connect_timeout: Duration = Toml("\"2s\""), "covers one lost SYN";
        /// From the last byte of the request to the answer's head, then between any two bytes of the answer.
        read_timeout: Duration = Toml("\"60s\""), "nginx's; models may think that long";
        /// Idle connections kept per core.
        idle_connections_max: u64 = Toml("64"), "as many as a busy core has requests in flight";
        /// How long an idle connection is kept.
        idle_timeout: Duration = Toml("\"55s\""), "under the 60 s and 75 s of common servers, so that we close first";
    }
}

section! {
    /// `[upstream.credentials]`.
    Credentials {
        /// `none`; `forward` the client's token (not on MCP routes); `service`, a credential of the gateway's own.
        mode: CredentialMode = Toml("\"none\""), "a token is for the gateway, not for what is behind it";
        /// `service`: the header that carries it.
        header: Option<String> = Absent, "`authorization`";
        /// `service`: a word in front of the secret, such as `Bearer`.
        scheme: Option<String> = Absent, "";
        /// `service`: file that holds the secret, not readable by others.
        file: Option<String> = Absent, "";
        /// `service`: name of a systemd credential (`LoadCredential=`) instead of a file.
        credential: Option<String> = Absent, "";
    }
}

/// `credentials.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialMode {
    None,
    Forward,
    Service,
}

choice!(CredentialMode: "none" => CredentialMode::None, "forward" => CredentialMode::Forward,
    "service" => CredentialMode::Service);

/// `fail` of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fail {
    Closed,
    Open,
}

choice!(Fail: "closed" => Fail::Closed, "open" => Fail::Open);

section! {
    /// `[[route]]`.
    Route {
        /// Its name, for safety rules and records.
        name: Option<String> = Absent, "the path";
        /// Path prefix; matches whole segments, the longest of several wins.
        path: String = Required, "";
        /// Name of the upstream.
        upstream: String = Required, "";
        /// What its bodies say.
        protocol: Protocol = Toml("\"http\""), "";
        /// Scopes that every call needs; only these of the token's are shown to the upstream.
        scopes: Vec<Key<String>> = Toml("[]"), "all of the token's scopes are shown when none are named";
        /// Audiences accepted here, besides one of the issuer's.
        audience: Vec<Key<String>> = Toml("[]"), "the issuer's suffice";
        /// Whether event streams, and text without a length, are screened as they come; elsewhere an answer that
        /// response rules apply to is collected first, and an event stream among those is refused.
        streaming: bool = Toml("false"), "an answer that was seen whole is refused before its first byte left";
        /// What becomes of content that rules have to see and cannot: refused, or passed on as it is, which the record
        /// says. Values that a call carried in clear, broken encodings and streams that began are refused all the same.
        fail: Fail = Toml("\"closed\""), "what nobody looked at is what an attacker would send";
        /// Bytes of a request body.
        body_bytes_max: Option<Size> = Absent, "`listen.body_bytes_max`";
        /// Request content types besides `application/json`.
        content_types: Vec<Key<String>> = Toml("[]"), "arguments that policies read have to be JSON";
        /// Codings that request bodies may come in, and answers that are read. They are undone within `body_bytes_max`
        /// and 128 times what came; what was decoded is what is sent on.
        content_codings: Vec<Key<ContentCoding>> = Toml("[]"), "whoever sends plain bodies sends what everybody reads alike";
        /// Response headers passed on besides the built-in list.
        response_headers: Vec<Key<String>> = Toml("[]"), "a backend's cookies and redirects are not the gateway's";
        /// Whether Cookie is passed on.
        cookies: bool = Toml("false"), "ambient authority that no layer checked";
        /// Whether a client may shut down its sending side and still get the answer.
        half_close: bool = Toml("false"), "a FIN usually means that nobody waits any more";
        /// A tool: what is not listed is unknown.
        tool: Vec<Key<Tool>> = Toml("[]"), "";
    }
}

section! {
    /// `[[route.tool]]`.
    Tool {
        /// Full id, as policies, scopes and the audit have it.
        name: String = Required, "";
        /// How a request for it is recognised.
        r#match: Match = Toml("{}"), "";
        /// Verb of the scope `tool:<name>:<verb>`.
        verb: String = Required, "read or write is the operator's word, not the upstream's";
        /// Price of one call.
        price: Money = Toml("\"0 USD\""), "";
        /// Data labels: attributes for policies, and what the auditor asks by.
        labels: Vec<Key<String>> = Toml("[]"), "";
    }
}

section! {
    /// `[route.tool.match]`.
    Match {
        /// HTTP routes: the method.
        method: Option<String> = Absent, "required on HTTP routes";
        /// HTTP routes: the path below the route; `*` stands for one segment.
        path: Option<String> = Absent, "the route itself";
        /// MCP routes: the upstream's own name of the tool.
        tool: Option<String> = Absent, "what follows the last `/` of `name`";
    }
}

choice!(ContentCoding: "gzip" => ContentCoding::Gzip, "deflate" => ContentCoding::Deflate,
    "br" => ContentCoding::Br, "zstd" => ContentCoding::Zstd);
choice!(Protocol: "http" => Protocol::Http, "mcp" => Protocol::Mcp);

section! {
    /// `[audit]`.
    Audit {
        /// Where rings, segments and keys live.
        dir: String = Toml("\"/var/lib/acp/audit\""), "systemd's StateDirectory";
        /// When an intent counts as logged: `batch` = survives the process, `fsync` = survives the machine.
        durability: Durability = Toml("\"batch\""), "an fsync per group costs milliseconds on most disks";
        /// Bytes of each worker's ring.
        ring_bytes: Size = Toml("\"8 MiB\""), "a second at 4 000 requests/s";
        /// Bytes after which a segment is closed.
        segment_bytes: Size = Toml("\"64 MiB\""), "quick to verify and to ship";
        /// Age after which a segment is closed.
        segment_age: Duration = Toml("\"24h\""), "a day is what auditors ask for";
        /// Free bytes of the disk below which new work is refused.
        min_free_bytes: Size = Toml("\"256 MiB\""), "room to close the log and to look at it";
        /// Between signed heads of the chain.
        head_interval: Duration = Toml("\"60s\""), "what an attacker with the disk can cut off unseen";
    }
}

choice!(Durability: "batch" => Durability::Batch, "fsync" => Durability::Fsync);

section! {
    /// `[kernel]`.
    Kernel {
        /// `auto` = as much as the host allows; `required` = do not start with less than the ledger; `off`.
        mode: KernelMode = Toml("\"auto\""), "everything is enforced in user space as well";
        /// Whether penalties are enforced; `observe` counts what they would refuse.
        penalties: Mode = Toml("\"enforce\""), "only declared sources are refused by default";
        /// What the addresses of connections are: `direct` = the clients' own or their NAT's, so that a source learned to be one user's alone is refused too; `unknown` = perhaps a load balancer's.
        client_addresses: ClientAddresses = Toml("\"unknown\""), "refusing a load balancer refuses everybody";
        /// A source that belongs to one tenant.
        source: Vec<Key<Source>> = Toml("[]"), "";
        /// Sources that are never refused and never learned of, such as health checkers.
        exempt: Vec<Key<Cidr>> = Toml("[]"), "trusted proxies are exempt without being named";
        /// How long one user has to be alone on a source, and on 20 connections, before it counts as that user's; less than 10 min only with `loopback`.
        learned_after: Duration = Toml("\"10m\""), "an office's second user shows within minutes";
        /// File of the sources that were found shared: they stay so for a day, also over restarts.
        shared_sources: Option<String> = Absent, "`shared-sources` beside `usage.ledger`";
        /// Whether loopback sources may be penalised.
        loopback: bool = Toml("false"), "for tests; on a host, loopback is its own health checks";
        /// 429s that a declared source may ignore within 10 s before it is refused.
        ignored_429_max: u64 = Toml("10"), "SDKs retry two or three times";
        /// First penalty; doubles to 60 s on repetition.
        penalty: Duration = Toml("\"5s\""), "long enough to end a tight loop, short enough for a mistake";
        /// Interfaces on which declared sources that keep at it are dropped without an answer; elsewhere they are refused.
        interfaces: Vec<Key<String>> = Toml("[]"), "a program on every frame of an interface is the operator's to want";
        /// Whether the kernel holds the gateway's own TCP connections to the addresses that passed the address rules.
        egress_guard: bool = Toml("true"), "a second wall behind the first";
        /// cgroup2 directory to make the gateway's own node under.
        cgroup: Option<String> = Absent, "where the process is";
    }
}

section! {
    /// `[[kernel.source]]`.
    Source {
        /// The block.
        cidr: Cidr = Required, "";
        /// The tenant it belongs to, as tokens claim it.
        tenant: String = Required, "";
        /// Name of the issuer entry that asserts the tenant.
        issuer: Option<String> = Absent, "the only one; required with several";
    }
}

choice!(ClientAddresses: "unknown" => ClientAddresses::Unknown, "direct" => ClientAddresses::Direct);
choice!(KernelMode: "auto" => KernelMode::Auto, "required" => KernelMode::Required, "off" => KernelMode::Off);

section! {
    /// `[admin]`.
    Admin {
        /// Unix socket of everything that changes state, mode 0600.
        socket: String = Toml("\"/run/acp/admin.sock\""), "systemd's RuntimeDirectory";
        /// Health and metrics, on loopback only.
        metrics: SocketAddr = Toml("\"127.0.0.1:9900\""), "read-only, but not for strangers";
    }
}
