//! The simulator: chooses what happens next, lets gateway and model do it, and compares.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

use acp::audit::chain::hex;
use acp::clock::Now;
use acp::identity::{Revocation, Revocations};
use acp::ids::UserId;
use acp::reason::Reason;

use super::invariants::{Breach, Checks, Invariant, Windows};
use super::model::{Call, Flaw, Minted, Model, Principal};
use super::rules::{Argument, CARD, Content, EMAIL, LIFE_SECS, SUBJECTS, TOOLS, VARIANTS};
use super::task::{At, Input, Task, field};
use super::tokens::signed;
use super::trace::{Random, Trace};
use super::world::{Room, WORKERS, World};

/// Every instant is a multiple of it: the loop guard's coarse tick.
const GRAIN_NS: u64 = 1 << 22;

/// Begins in the middle of a budget's period: none ends within a simulation.
const START_SECS: u64 = 2_592_000 * 700 + 1_000_000;

/// Requests on their way at a time.
const TASKS_MAX: usize = 24;

/// How a request's end has to stand in the log.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) reason: Option<Reason>,
    /// It went on: an intent, and what its outcome settles.
    pub(super) settled: Option<u64>,
    /// The record may be a count instead: nobody's, or for want of room.
    pub(super) countable: bool,
    /// Its process died before its end.
    pub(super) lost: bool,
    pub(super) versions: (String, String, u64, u64),
}

pub(super) struct Running {
    pub(super) task: Task,
    pub(super) call: Call,
    pub(super) number: u64,
    pub(super) worker: usize,
    pub(super) bearer: Option<String>,
    pub(super) versions: (String, String, u64, u64),
}

/// What a seed did.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) digest: u64,
    pub(super) checks: Checks,
    /// What happened how often: reasons, crashes, reloads, ….
    pub(super) events: BTreeMap<String, u64>,
}

/// See the module's documentation.
pub(super) struct Simulation {
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) checks: Checks,
    pub(super) events: BTreeMap<String, u64>,
    pub(super) root: tempfile::TempDir,
    pub(super) boot: u64,
    pub(super) world: Option<World>,
    pub(super) model: Model,
    pub(super) windows: Windows,
    pub(super) variant: usize,
    pub(super) generation: u64,
    pub(super) now: Now,
    pub(super) tokens: HashMap<usize, Minted>,
    pub(super) revoked: BTreeMap<usize, u64>,
    pub(super) running: Vec<Running>,
    pub(super) started: u64,
    pub(super) expected: BTreeMap<String, Expected>,
    /// Requests whose first byte the upstream saw.
    pub(super) seen: BTreeSet<String>,
    pub(super) bill: BTreeMap<Principal, u64>,
    /// The ledger has not seen the plan in force.
    pub(super) replanned: bool,
    /// The log's lines as last read.
    pub(super) lines: Vec<Vec<u8>>,
    /// The writer does nothing until then.
    pub(super) stalled_until: u64,
}

/// Runs `steps` steps of `seed`.
///
/// # Errors
/// The first breach, with what led to it.
pub(super) fn run(seed: u64, steps: u64) -> Result<Report, String> {
    let mut simulation = Simulation::new(seed);
    let mut at = 0;
    let result = (0..steps)
        .try_for_each(|step| {
            at = step;
            simulation.step()
        })
        .and_then(|()| simulation.finish());
    match result {
        Ok(()) => {
            Ok(Report { digest: simulation.trace.digest(), checks: simulation.checks, events: simulation.events })
        }
        Err(Breach { invariant, what }) => Err(format!(
            "seed {seed}, step {at}: {invariant:?} ({}): {what}\n{}",
            invariant.text(),
            simulation.trace.last()
        )),
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let shared_memory = std::path::Path::new("/dev/shm");
        let root = if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() };
        let root = root.expect("a temporary directory");
        let mut random = Random::new(seed);
        let variant = random.index(VARIANTS.len());
        let now = Now { wall_ns: START_SECS * 1_000_000_000, mono_ns: GRAIN_NS << 16 };
        let dir = root.path().join("boot-0");
        std::fs::create_dir(&dir).expect("a directory");
        let world = World::open(&dir, &VARIANTS[variant], 1, now);
        Self {
            random,
            trace: Trace::new(),
            checks: Checks::default(),
            events: BTreeMap::new(),
            root,
            boot: 0,
            world: Some(world),
            model: Model::default(),
            windows: Windows::default(),
            variant,
            generation: 1,
            now,
            tokens: HashMap::new(),
            revoked: BTreeMap::new(),
            running: Vec::new(),
            started: 0,
            expected: BTreeMap::new(),
            seen: BTreeSet::new(),
            bill: BTreeMap::new(),
            replanned: true,
            lines: Vec::new(),
            stalled_until: 0,
        }
    }

    pub(super) fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("a gateway runs between steps")
    }

    pub(super) fn happened(&mut self, what: &str) {
        *self.events.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn note(&mut self, line: String) {
        self.trace.note(line);
    }

    fn step(&mut self) -> Result<(), Breach> {
        let grains = if self.random.once_in(400) { self.random.below(10_000) } else { self.random.below(10) };
        self.pass(grains);
        match self.random.below(1000) {
            0..1 => self.crash(),
            1..2 => self.restart(),
            2..9 => self.reload(),
            9..14 => self.revoke(),
            14..18 => {
                self.clock_jumps();
                Ok(())
            }
            18..20 => {
                self.stalled_until = self.now.mono_ns + self.random.below(10_000) * GRAIN_NS;
                self.happened("log stalled");
                Ok(())
            }
            20..60 => self.ledger(),
            60..180 => self.log(),
            180..186 => self.audit(),
            _ => self.request(),
        }
    }

    pub(super) fn pass(&mut self, grains: u64) {
        self.now.mono_ns += grains * GRAIN_NS;
        self.now.wall_ns += grains * GRAIN_NS;
    }

    fn clock_jumps(&mut self) {
        let secs = if self.random.once_in(3) { self.random.below(400) } else { self.random.below(60) };
        let ns = secs * 1_000_000_000;
        let back = self.random.once_in(2);
        self.now.wall_ns = if back { self.now.wall_ns - ns } else { self.now.wall_ns + ns };
        self.note(format!("wall clock jumps {secs} s, back: {back}"));
        self.happened("clock jumps");
    }

    /// Starts a request, or takes one that is on its way a step further.
    fn request(&mut self) -> Result<(), Breach> {
        let begin = self.running.len() < TASKS_MAX && (self.running.is_empty() || self.random.once_in(3));
        if begin {
            self.begin();
            let newest = self.running.len() - 1;
            return self.advance(newest);
        }
        let chosen = self.random.index(self.running.len());
        self.advance(chosen)
    }

    fn begin(&mut self) {
        // Two of the callers are most of the load, so that limits and budgets are felt.
        let subject = if self.random.once_in(2) { self.random.index(2) } else { self.random.index(SUBJECTS.len()) };
        let (token, bearer) = self.token(subject);
        let tool = *self.random.pick(&[0, 0, 0, 0, 1, 1, 1, 2, 2, 3]);
        let argument = match self.random.below(40) {
            0 => Argument::NoLimit,
            1 => Argument::TextLimit,
            2 => Argument::Broken,
            3 => Argument::Twice,
            4..8 => Argument::Limit(60),
            8..10 => Argument::Limit(1_000),
            rest => Argument::Limit(1 + rest % 3),
        };
        let content = Content { argument, email: self.random.once_in(6), card: self.random.once_in(25) };
        let call = Call {
            subject,
            token,
            revoked_until: self.revoked.get(&subject).copied(),
            tool,
            content,
            mono_ns: self.now.mono_ns,
            wall_secs: self.now.unix_secs(),
            rules: VARIANTS[self.variant],
        };
        let body = content.body();
        let authorization = bearer.as_ref().map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let head = format!(
            "POST /crm/{} HTTP/1.1\r\nhost: acp.example.com\r\n{authorization}x-user-uid: root\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            TOOLS[tool].path,
            body.len()
        );
        let worker = self.random.index(WORKERS);
        let address = SocketAddr::from(([192, 0, 2, subject as u8], 40_000));
        let now = self.now;
        let world = self.world();
        let current = Rc::clone(&world.snapshot);
        let snapshot = current.borrow().clone();
        let settings = &snapshot.settings;
        let versions = (
            hex(&settings.config.digest[..8]),
            hex(&settings.policy.digest()[..8]),
            snapshot.keys_generation(),
            snapshot.generation,
        );
        let task =
            Task::new(Rc::clone(&world.workers[worker]), current, head.into_bytes(), body.into_bytes(), address, now);
        self.started += 1;
        let number = self.started;
        self.running.push(Running { task, call, number, worker, bearer, versions });
    }

    /// A subject's token: the one it has, a new one, or one with a flaw.
    fn token(&mut self, subject: usize) -> (Minted, Option<String>) {
        let issued = self.now.unix_secs();
        let fresh = Minted { flaw: Flaw::None, issued, expires: issued + LIFE_SECS };
        let flaw = match self.random.below(60) {
            0 => Flaw::Absent,
            1 => Flaw::Issuer,
            2 => Flaw::Audience,
            3 => Flaw::Key,
            4 => Flaw::Signature,
            _ => Flaw::None,
        };
        let minted = if flaw != Flaw::None {
            Minted { flaw, ..fresh }
        } else if self.random.once_in(12) || (self.is_useless(subject) && !self.random.once_in(6)) {
            self.tokens.insert(subject, fresh);
            fresh
        } else {
            *self.tokens.entry(subject).or_insert(fresh)
        };
        (minted, (minted.flaw != Flaw::Absent).then(|| signed(subject, minted)))
    }

    /// Whether a client would see that its token is no good any more.
    fn is_useless(&self, subject: usize) -> bool {
        let now = self.now.unix_secs();
        let revoked = self.revoked.get(&subject).copied().unwrap_or_default();
        self.tokens
            .get(&subject)
            .is_some_and(|token| token.issued <= revoked || token.issued > now || token.expires <= now)
    }

    /// Gives a request what it waits for, and compares what became of it with the model.
    fn advance(&mut self, chosen: usize) -> Result<(), Breach> {
        let mut running = self.running.swap_remove(chosen);
        let at = running.task.at();
        let input = self.input(&running);
        let worker = Rc::clone(&self.world().workers[running.worker]);
        let (record_room, call_room) = (worker.room(false), worker.room(true));
        let fill = worker.ring.fill();
        let reached = running.task.step(input, self.now.mono_ns);
        self.note(format!(
            "{} {at:?} -> {reached:?} at {} ring {fill} {:?} {:?}",
            running.number, self.now.mono_ns, running.call.subject, running.call.content
        ));
        let call = running.call;
        let verdict = match (at, input) {
            (At::Start, _) => match self.model.begin(&call) {
                Some(Reason::UnknownKey) => Ok(At::Key),
                Some(reason) => Err(reason),
                None => Ok(At::Body),
            },
            (At::Key, _) => Err(Reason::UnknownKey),
            (At::Body, Input::Body(Err(reason))) => Err(reason),
            (At::Lease, Input::No) => Err(Reason::LedgerUnavailable),
            (At::Body, _) => match call.content_fault() {
                Some(reason) => Err(reason),
                None => return self.admission(running, reached, call_room, record_room),
            },
            (At::Lease, _) => return self.admission(running, reached, Room::Yes, record_room),
            (At::Send, Input::Go) => Ok(At::Answer),
            (_, Input::End { reason, sent, .. }) => {
                return self.ended(running, reason, sent || at == At::Answer);
            }
            _ => unreachable!("{at:?} is never given {input:?}"),
        };
        match verdict {
            Ok(expected) => {
                self.decides(&running, At::eq(&expected, &reached), &format!("{expected:?}"), reached)?;
                if reached == At::Answer {
                    self.upstream_saw(&running)?;
                }
                self.running.push(running);
                Ok(())
            }
            Err(reason) => self.refused(running, reason, reached, record_room),
        }
    }

    fn decides(&mut self, running: &Running, agrees: bool, expected: &str, reached: At) -> Result<(), Breach> {
        let call = &running.call;
        self.checks.check(Invariant::Decision, agrees, || format!("{call:?}: {reached:?}, the model says {expected}"))
    }

    /// What the request is given next.
    fn input(&mut self, running: &Running) -> Input {
        let now = self.now;
        let end = |reason, sent, status| Input::End { reason, sent, status, now };
        match running.task.at() {
            At::Body => match self.random.below(40) {
                0 => Input::Body(Err(Reason::ClientClosed)),
                1 => Input::Body(Err(Reason::RequestTimeout)),
                2 => Input::Body(Err(Reason::BodyTooLarge)),
                _ => Input::Body(Ok(())),
            },
            At::Key => Input::No,
            At::Lease if self.random.once_in(30) => Input::No,
            At::Lease => {
                if self.random.once_in(2) {
                    self.grant();
                }
                Input::Go
            }
            At::Send => match self.random.below(12) {
                0 => end(Reason::ClientClosed, false, None),
                1 => end(Reason::UpstreamFailed, false, None),
                // Written, and lost before the upstream saw it.
                2 => end(Reason::UpstreamFailed, true, None),
                _ => Input::Go,
            },
            At::Answer => match self.random.below(12) {
                0 => end(Reason::UpstreamTimeout, true, None),
                1 => end(Reason::UpstreamFailed, true, Some(200)),
                2 => end(Reason::ClientClosed, true, Some(200)),
                3 => end(Reason::UpstreamFraming, true, None),
                4 => end(Reason::Allowed, true, Some(500)),
                _ => end(Reason::Allowed, true, Some(200)),
            },
            _ => Input::Go,
        }
    }

    /// Limits, loop guard and budgets, once a place in the log is found.
    fn admission(&mut self, running: Running, reached: At, call_room: Room, record_room: Room) -> Result<(), Breach> {
        // Limits and loop guard judge by the instant of admission.
        let call = Call { mono_ns: self.now.mono_ns, ..running.call };
        let unrecorded = matches!(reached, At::Refused(Reason::AuditUnavailable | Reason::TenantShare));
        if call_room == Room::No || (call_room == Room::Unclear && unrecorded && self.model.admittable(&call)) {
            return self.refused(running, Reason::AuditUnavailable, reached, Room::Unclear);
        }
        if reached == At::Lease {
            let sooner = self.model.over(&call).or_else(|| self.model.looping(&call));
            self.decides(&running, sooner.is_none(), &format!("{sooner:?}"), reached)?;
            self.running.push(running);
            return Ok(());
        }
        if let Some(reason) = self.model.admit(&call) {
            return self.refused(running, reason, reached, record_room);
        }
        self.decides(&running, reached == At::Send, "Send", reached)?;
        self.happened("admitted");
        for (principal, rate) in call.limits() {
            self.windows.admitted(principal, rate, self.boot, call.mono_ns, &mut self.checks)?;
        }
        self.running.push(running);
        Ok(())
    }

    fn refused(&mut self, running: Running, reason: Reason, reached: At, room: Room) -> Result<(), Breach> {
        let call = running.call;
        let verified = call.unverified().is_none();
        let told = match reached {
            At::Refused(told) => Some(told),
            _ => None,
        };
        let for_room = matches!(told, Some(Reason::AuditUnavailable | Reason::TenantShare));
        let agrees = match room {
            _ if !verified => told == Some(reason),
            Room::Yes => told == Some(reason),
            Room::No => told == Some(Reason::AuditUnavailable),
            Room::Unclear => told == Some(reason) || for_room,
        };
        self.decides(&running, agrees, reason.code(), reached)?;
        if verified
            && (matches!(reason.status(), 403 | 404) || matches!(reason, Reason::InvalidJson | Reason::DuplicateKey))
        {
            self.model.denied(&call);
        }
        let told = told.unwrap_or(reason);
        self.happened(told.code());
        let expected = Expected {
            reason: Some(told),
            settled: None,
            countable: !verified || for_room,
            lost: false,
            versions: running.versions,
        };
        self.expected.insert(running.task.id(), expected);
        Ok(())
    }

    fn upstream_saw(&mut self, running: &Running) -> Result<(), Breach> {
        let request = running.task.upstream();
        let text = String::from_utf8_lossy(&request);
        let token = running.bearer.as_deref().unwrap_or("no token");
        let clean = !text.contains(CARD) && !text.contains(EMAIL) && !text.contains(token);
        let own = field(&request, "x-user-uid").as_deref() == Some(SUBJECTS[running.call.subject].name);
        self.checks.check(Invariant::Content, clean && own, || text.clone().into_owned())?;
        self.seen.insert(running.task.id());
        if running.call.price() > 0 {
            for principal in [running.call.user(), running.call.tenant()] {
                *self.bill.entry(principal).or_default() += running.call.price();
            }
        }
        Ok(())
    }

    fn ended(&mut self, running: Running, reason: Reason, sent: bool) -> Result<(), Breach> {
        self.decides(&running, running.task.at() == At::Ended(reason), reason.code(), running.task.at())?;
        self.model.ended(&running.call, sent);
        self.happened(reason.code());
        let settled = if sent { running.call.price() } else { 0 };
        let expected = Expected {
            reason: Some(reason),
            settled: Some(settled),
            countable: false,
            lost: false,
            versions: running.versions,
        };
        self.expected.insert(running.task.id(), expected);
        Ok(())
    }

    fn grant(&mut self) {
        let now = self.now;
        self.world().grant(now);
        // Under a plan that it knows the ledger looks at caps only when it folds.
        if std::mem::take(&mut self.replanned) {
            self.caps();
        }
    }

    fn caps(&mut self) {
        self.model.capped(&VARIANTS[self.variant]);
    }

    fn ledger(&mut self) -> Result<(), Breach> {
        let now = self.now;
        match self.random.below(4) {
            0 => {
                self.world().sweep(now);
                self.model.swept(now.mono_ns);
            }
            1 => {
                self.world().fold(now);
                self.caps();
            }
            _ => self.grant(),
        }
        self.books()
    }

    fn log(&mut self) -> Result<(), Breach> {
        let now = self.now;
        if now.mono_ns >= self.stalled_until {
            self.world().drain(now);
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), Breach> {
        self.variant = self.random.index(VARIANTS.len());
        self.generation += 1;
        let (rules, generation) = (VARIANTS[self.variant], self.generation);
        self.world().reload(&rules, generation);
        self.replanned = true;
        self.note(format!("reload: rules {}", self.variant));
        self.happened("reloads");
        Ok(())
    }

    fn revoke(&mut self) -> Result<(), Breach> {
        let subject = self.random.index(SUBJECTS.len());
        self.revoked.insert(subject, self.now.unix_secs());
        self.publish_revoked();
        self.note(format!("revoke: subject {subject}"));
        self.happened("revocations");
        Ok(())
    }

    pub(super) fn publish_revoked(&mut self) {
        let revoked = self.revoked.iter().map(|(subject, until)| {
            let Some(subject) = SUBJECTS.get(*subject) else { unreachable!("only subjects are revoked") };
            let user = UserId { issuer: subject.issuer.into(), subject: subject.name.into() };
            Revocation::Subject { user, issued_until: *until }
        });
        let revoked = Revocations::new(revoked).expect("a few");
        self.generation += 1;
        let generation = self.generation;
        self.world().revoke(revoked, generation);
    }

    /// Every request on its way comes to an end.
    pub(super) fn quiesce(&mut self) -> Result<(), Breach> {
        while let Some(last) = self.running.len().checked_sub(1) {
            self.pass(1);
            self.log()?;
            self.advance(last)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Breach> {
        self.restart()?;
        let joined = self.read()?;
        self.compare(&joined)?;
        let unrecorded = self.expected.keys().filter(|id| !joined.requests.contains_key(*id)).count() as u64;
        self.checks.check(Invariant::Counted, unrecorded == joined.summarised, || {
            format!("{unrecorded} refusals are not recorded, {} are counted", joined.summarised)
        })?;
        for (principal, account) in self.model.accounts.clone() {
            self.note(format!("{principal:?} {account:?}"));
        }
        Ok(())
    }
}
