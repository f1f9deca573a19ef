//! Who calls what under which rules: the site of a simulation, as facts for the model and as a configuration file for
//! the gateway.

/// A caller. The same name under another issuer is somebody else (THREATS A7).
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) issuer: &'static str,
    pub(super) tenant: &'static str,
    pub(super) name: &'static str,
    pub(super) scopes: &'static str,
}

const fn subject(issuer: &'static str, tenant: &'static str, name: &'static str, scopes: &'static str) -> Subject {
    Subject { issuer, tenant, name, scopes }
}

const READ: &str = "tool:crm:read";
const WRITE: &str = "tool:crm:read tool:crm:write";

pub(super) const SUBJECTS: [Subject; 7] = [
    subject("corp", "acme", "ann", WRITE),
    subject("corp", "acme", "bob", READ),
    subject("corp", "acme", "cy", WRITE),
    subject("corp", "globex", "dee", WRITE),
    subject("corp", "globex", "eve", "tool:wiki:read"),
    subject("lab", "acme", "ann", WRITE),
    subject("lab", "initech", "fay", READ),
];

/// A tool, by what a path names.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) path: &'static str,
    pub(super) price: u64,
    pub(super) verb: &'static str,
    pub(super) known: bool,
    /// Its `limit` argument is what a policy reads.
    pub(super) limited: bool,
}

pub(super) const TOOLS: [Tool; 4] = [
    Tool { path: "list", price: 3_000, verb: "read", known: true, limited: true },
    Tool { path: "update", price: 11_000, verb: "write", known: true, limited: false },
    Tool { path: "count", price: 0, verb: "read", known: true, limited: false },
    Tool { path: "drop", price: 0, verb: "read", known: false, limited: false },
];

pub(super) const EMAIL: &str = "ann@example.com";
pub(super) const CARD: &str = "4111 1111 1111 1111";

/// What stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    Limit(u64),
    NoLimit,
    TextLimit,
    Broken,
    Twice,
}

/// A request's content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) argument: Argument,
    pub(super) email: bool,
    pub(super) card: bool,
}

impl Content {
    pub(super) fn body(self) -> String {
        let argument = match self.argument {
            Argument::Limit(limit) => format!("\"limit\":{limit},"),
            Argument::NoLimit => String::new(),
            Argument::TextLimit => "\"limit\":\"all\",".to_owned(),
            Argument::Broken => return "{\"limit\":".to_owned(),
            Argument::Twice => "\"limit\":5,\"limit\":7,".to_owned(),
        };
        let email = if self.email { format!(" write to {EMAIL}") } else { String::new() };
        let card = if self.card { format!(" credit card {CARD}") } else { String::new() };
        format!("{{{argument}\"note\":\"hello{email}{card}\"}}")
    }
}

/// Requests per window, of a user or a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) requests: u64,
    pub(super) window_ms: u64,
    pub(super) burst: u64,
}

impl Rate {
    pub(super) fn interval_ns(self) -> u64 {
        self.window_ms * 1_000_000 / self.requests
    }
}

/// Every number that a reload may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) user_rate: Rate,
    pub(super) tenant_rate: Rate,
    pub(super) user_cap: u64,
    pub(super) tenant_cap: u64,
    pub(super) limit_max: u64,
    pub(super) email_blocks: bool,
}

/// Intervals are whole ticks of 64 ns, so that the model needs no rounding.
pub(super) const VARIANTS: [Rules; 4] = [
    Rules {
        user_rate: Rate { requests: 8, window_ms: 2_000, burst: 8 },
        tenant_rate: Rate { requests: 25, window_ms: 1_000, burst: 10 },
        user_cap: 600_000,
        tenant_cap: 800_000,
        limit_max: 100,
        email_blocks: false,
    },
    Rules {
        user_rate: Rate { requests: 5, window_ms: 2_000, burst: 3 },
        tenant_rate: Rate { requests: 25, window_ms: 1_000, burst: 25 },
        user_cap: 300_000,
        tenant_cap: 1_000_000,
        limit_max: 50,
        email_blocks: true,
    },
    Rules {
        user_rate: Rate { requests: 20, window_ms: 1_000, burst: 20 },
        tenant_rate: Rate { requests: 10, window_ms: 1_000, burst: 6 },
        user_cap: 900_000,
        tenant_cap: 500_000,
        limit_max: 100,
        email_blocks: true,
    },
    Rules {
        user_rate: Rate { requests: 8, window_ms: 2_000, burst: 8 },
        tenant_rate: Rate { requests: 25, window_ms: 1_000, burst: 10 },
        user_cap: 450_000,
        tenant_cap: 1_500_000,
        limit_max: 10,
        email_blocks: false,
    },
];

/// The denial bucket drains one unit in so long, and holds so many.
pub(super) const DENIAL: Rate = Rate { requests: 12, window_ms: 60_000, burst: 12 };

/// The call that makes it so many within the window is a loop.
pub(super) const IDENTICAL: u64 = 5;

/// A multiple of the loop guard's coarse tick (2²² ns), as every instant of the simulation is.
pub(super) const LOOP_MS: u64 = 65_536;

/// Calls that one user may have in flight.
pub(super) const FLIGHT_MAX: u64 = 3;

pub(super) const SHARE_PERCENT: u64 = 25;

/// Seconds of leeway on a token's times.
pub(super) const LEEWAY_SECS: u64 = 30;

/// Seconds a token lives.
pub(super) const LIFE_SECS: u64 = 600;

pub(super) const AUDIENCE: &str = "https://acp.example.com";

pub(super) fn issuer_url(issuer: &str) -> String {
    format!("https://{issuer}.example.com/")
}

/// Bytes of a worker's ring: the smallest there is, so that a writer that stalls is felt.
pub(super) const RING_BYTES: u64 = 64 * 1024;

impl Rules {
    pub(super) fn policy(&self) -> String {
        format!(
            "@id(\"small-pages\")\nforbid (principal, action == Action::\"call\", resource == Tool::\"crm/list\")\n\
             unless {{ context.arguments has limit && context.arguments.limit <= {} }};\n",
            self.limit_max
        )
    }

    pub(super) fn config(&self) -> String {
        let mut text = String::from(
            "[listen]\naddress = \"127.0.0.1:8080\"\npublic_url = \"https://acp.example.com\"\n\
             [admin]\nsocket = \"admin.sock\"\n[policy]\nfiles = [\"crm.cedar\"]\n\
             [[upstream]]\nname = \"crm\"\nurl = \"http://crm.internal:8080/api\"\nallow_private = [\"10.0.0.0/8\"]\n\
             [[route]]\nname = \"crm\"\npath = \"/crm\"\nupstream = \"crm\"\nscopes = [\"tool:crm:read\"]\n",
        );
        for (issuer, tenants) in [("corp", "\"acme\", \"globex\""), ("lab", "\"acme\", \"initech\"")] {
            text += &format!(
                "[[identity.issuer]]\nname = \"{issuer}\"\nissuer = \"{}\"\naudience = [\"{AUDIENCE}\"]\n\
                 claims = {{ tenant = \"org_id\", scopes = \"scope\" }}\ntenants = [{tenants}]\n",
                issuer_url(issuer)
            );
        }
        for tool in TOOLS.iter().filter(|tool| tool.known) {
            text += &format!(
                "[[route.tool]]\nname = \"crm/{}\"\nmatch = {{ method = \"POST\", path = \"{}\" }}\nverb = \"{}\"\n\
                 price = \"0.{:06} USD\"\n",
                tool.path, tool.path, tool.verb, tool.price
            );
        }
        let email = if self.email_blocks { "block" } else { "redact" };
        text += &format!(
            "[[safety.rule]]\ndetect = [\"credit_card\"]\naction = \"block\"\ndirection = \"request\"\n\
             [[safety.rule]]\ndetect = [\"email\"]\naction = \"{email}\"\ndirection = \"request\"\n"
        );
        for (per, rate) in [("user", self.user_rate), ("tenant", self.tenant_rate)] {
            text += &format!(
                "[[usage.rate_limit]]\nper = \"{per}\"\nrequests = {}\nwindow = \"{}ms\"\nburst = {}\nkernel = false\n",
                rate.requests, rate.window_ms, rate.burst
            );
        }
        for (per, cap) in [("user", self.user_cap), ("tenant", self.tenant_cap)] {
            text += &format!(
                "[[usage.budget]]\nper = \"{per}\"\nmax_spend = \"{}.{:06} USD\"\nperiod = \"30d\"\n",
                cap / 1_000_000,
                cap % 1_000_000
            );
        }
        text += &format!(
            "[usage.loop_guard]\nidentical_calls = {IDENTICAL}\nwindow = \"{LOOP_MS}ms\"\n\
             [usage]\nledger = \"ledger.redb\"\nslots = 16384\nslots_tenant_share_percent = 100\n\
             denials_per_minute = {}\ncalls_in_flight_max = {FLIGHT_MAX}\nholds_user_share_percent = {SHARE_PERCENT}\n\
             [audit]\ndir = \"audit\"\nring_bytes = \"{} KiB\"\nsegment_bytes = \"1 MiB\"\nmin_free_bytes = \"1 MiB\"\n",
            DENIAL.requests,
            RING_BYTES / 1024,
        );
        text
    }
}
