//! What a policy reads: a walk over its condition that finds every attribute path below `context` and
//! `principal.claims`, and what each is taken for.
//!
//! The result has to be complete: the decision cache is keyed by, and Cedar is shown, only what this walk finds. So a
//! policy may use these records by attribute path only (`context.arguments.a.b`, `context.arguments has a`);
//! anything that would let a whole record flow elsewhere is a mistake at load. Types are inferred from use:
//! literals, operators and known attributes fix them, equality carries them across, and what stays open is a String.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Template, UnaryOp, Var};

use super::shape::{Conflict, Kind, Scalar, Shape};
use crate::config::resolved::Detector;

const BOOL: Kind = Kind::Scalar(Scalar::Bool);
const LONG: Kind = Kind::Scalar(Scalar::Long);
const DECIMAL: Kind = Kind::Scalar(Scalar::Decimal);
const TEXT: Kind = Kind::Scalar(Scalar::Text);

/// The records without a declared schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Root {
    /// `context.arguments`.
    Arguments,
    /// `principal.claims`.
    Claims,
}

impl Root {
    /// As a policy writes it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Arguments => "context.arguments",
            Self::Claims => "principal.claims",
        }
    }
}

/// One value below a [`Root`].
pub(super) type Path = (Root, Vec<Arc<str>>);

/// What one policy reads besides declared attributes of principal and resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reads {
    pub(super) arguments: Shape,
    pub(super) claims: Shape,
    /// `context.findings.<detector>`, in numeric order.
    pub(super) findings: BTreeSet<Detector>,
    /// `context.source.address`.
    pub(super) source: bool,
    /// Values that an equality says are of one type.
    links: Vec<(Path, Path)>,
    /// Values used, not only tested for, in order.
    values: BTreeSet<Path>,
}

/// Why a policy cannot be analysed. `Display` is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadMistake {
    #[error("`{0}` can only be read attribute by attribute")]
    WholeRecord(&'static str),
    #[error("`context.findings.{0}` is not a detector")]
    UnknownDetector(String),
    #[error("templates and partial-evaluation unknowns are not supported")]
    Unsupported,
    #[error("`{path}` is taken for {one} and for {other}", one = .one.name(), other = .other.name())]
    Conflict { path: String, one: Kind, other: Kind },
}

impl Reads {
    /// Analyses one policy.
    pub(super) fn of(policy: &Template) -> Result<Self, ReadMistake> {
        let mut reads = Self::none();
        for clause in policy.clauses() {
            let (Clause::When(condition) | Clause::Unless(condition)) = clause;
            reads.walk(condition, Some(BOOL))?;
        }
        Ok(reads)
    }

    pub(super) const fn none() -> Self {
        Self {
            arguments: Shape::record(),
            claims: Shape::record(),
            findings: BTreeSet::new(),
            source: false,
            links: Vec::new(),
            values: BTreeSet::new(),
        }
    }

    /// Whether a decision can depend on the call itself.
    pub(super) fn context_free(&self) -> bool {
        self.arguments.is_empty() && self.findings.is_empty() && !self.source
    }

    /// Adds what another policy of the same slice reads; claims are typed for the whole set already.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), ReadMistake> {
        self.arguments.merge(&other.arguments).map_err(|conflict| mistake(Root::Arguments, &conflict))?;
        self.claims.merge(&other.claims).map_err(|conflict| mistake(Root::Claims, &conflict))?;
        self.findings.extend(&other.findings);
        self.source |= other.source;
        Ok(())
    }

    /// Carries types across equalities, claims typed as in `claims` (those of the whole set). True if it learned
    /// something; call again until no policy of the set does.
    pub(super) fn propagate(&mut self, claims: &Shape) -> Result<bool, ReadMistake> {
        let mut learned = false;
        for (one, other) in self.links.clone() {
            for (from, to) in [(&one, &other), (&other, &one)] {
                let Some(kind) = self.known(from, claims) else { continue };
                if self.known(to, claims) != Some(kind) {
                    self.note(to, kind)?;
                    learned = true;
                }
            }
        }
        Ok(learned)
    }

    /// Takes what no use has typed for a String; refuses a record used as one value, of which only the fields that
    /// are read would be seen.
    pub(super) fn settle(&mut self, claims: &Shape) -> Result<(), ReadMistake> {
        for path in self.values.clone() {
            match self.known(&path, claims) {
                None => self.note(&path, TEXT)?,
                Some(Kind::Record) => return Err(ReadMistake::WholeRecord(path.0.text())),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn known(&self, (root, path): &Path, claims: &Shape) -> Option<Kind> {
        let own = match root {
            Root::Arguments => &self.arguments,
            Root::Claims => &self.claims,
        };
        let of = |shape: &Shape| shape.at(path).map(|shape| shape.kind).filter(|kind| *kind != Kind::Presence);
        of(own).or_else(|| if *root == Root::Claims { of(claims) } else { None })
    }

    fn note(&mut self, (root, path): &Path, kind: Kind) -> Result<(), ReadMistake> {
        let shape = match root {
            Root::Arguments => &mut self.arguments,
            Root::Claims => &mut self.claims,
        };
        shape.read(path, kind).map_err(|conflict| mistake(*root, &conflict))
    }

    /// Notes every read of `expr`, which its surroundings take for `expected` (`None`: nothing known).
    fn walk(&mut self, expr: &Expr, expected: Option<Kind>) -> Result<(), ReadMistake> {
        match expr {
            Expr::Literal(_) | Expr::Var(Var::Principal | Var::Action | Var::Resource) => Ok(()),
            Expr::Var(_) => Err(ReadMistake::WholeRecord("context")),
            Expr::GetAttr { expr: base, .. } => match chain(expr) {
                Some(chain) => self.value(&chain, expected),
                None => self.walk(base, None),
            },
            Expr::HasAttr { expr: base, attrs } => match chain(base) {
                Some(mut chain) => {
                    chain.names.extend(attrs.iter().map(|attr| &**attr));
                    self.presence(&chain)
                }
                None => self.walk(base, None),
            },
            Expr::UnaryOp { op, expr } => self.walk(expr, operand(*op)),
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right),
            Expr::Like { expr, .. } => self.walk(expr, Some(TEXT)),
            Expr::Is { expr, in_expr, .. } => {
                self.walk(expr, None)?;
                in_expr.iter().try_for_each(|expr| self.walk(expr, None))
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.walk(cond, Some(BOOL))?;
                let expected = expected.or_else(|| kind_of(then_expr)).or_else(|| kind_of(else_expr));
                self.walk(then_expr, expected)?;
                self.walk(else_expr, expected)
            }
            Expr::Set(elements) => {
                let expected = element(expected).or_else(|| elements.iter().find_map(|e| kind_of(e)));
                elements.iter().try_for_each(|expr| self.walk(expr, expected))
            }
            Expr::Record(fields) => fields.values().try_for_each(|expr| self.walk(expr, None)),
            _ => Err(ReadMistake::Unsupported),
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<(), ReadMistake> {
        let (of_left, of_right) = match op {
            BinaryOp::Eq | BinaryOp::NotEq => {
                self.link(left, right);
                (kind_of(right), kind_of(left))
            }
            BinaryOp::And | BinaryOp::Or => (Some(BOOL), Some(BOOL)),
            BinaryOp::Less | BinaryOp::LessEq | BinaryOp::Greater | BinaryOp::GreaterEq => (Some(LONG), Some(LONG)),
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => (Some(LONG), Some(LONG)),
            BinaryOp::DecimalLessThan
            | BinaryOp::DecimalLessEq
            | BinaryOp::DecimalGreater
            | BinaryOp::DecimalGreaterEq => (Some(DECIMAL), Some(DECIMAL)),
            BinaryOp::Contains => (Some(set_of(kind_of(right))), element(kind_of(left))),
            BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                let set = kind_of(left).or_else(|| kind_of(right)).unwrap_or(Kind::Set(Scalar::Text));
                (Some(set), Some(set))
            }
            _ => (None, None),
        };
        self.walk(left, of_left)?;
        self.walk(right, of_right)
    }

    fn link(&mut self, left: &Expr, right: &Expr) {
        if let (Some(left), Some(right)) = (open_path(left), open_path(right)) {
            self.links.push((left, right));
        }
    }

    /// `context.….x` or `principal.….x` used as a value.
    fn value(&mut self, chain: &Chain<'_>, expected: Option<Kind>) -> Result<(), ReadMistake> {
        match (&chain.var, &chain.names[..]) {
            (Var::Context, ["findings", name]) => self.finding(name),
            (Var::Context, ["findings"]) => Err(ReadMistake::WholeRecord("context.findings")),
            (Var::Context, ["source", "address"]) => {
                self.source = true;
                Ok(())
            }
            (Var::Context, ["source"]) => Err(ReadMistake::WholeRecord("context.source")),
            _ => match chain.open() {
                Some((root, path)) if path.is_empty() => Err(ReadMistake::WholeRecord(root.text())),
                Some(path) => {
                    self.note(&path, expected.unwrap_or(Kind::Presence))?;
                    self.values.insert(path);
                    Ok(())
                }
                // A declared attribute, or none: the validator's to judge.
                None => Ok(()),
            },
        }
    }

    /// The same tested with `has`.
    fn presence(&mut self, chain: &Chain<'_>) -> Result<(), ReadMistake> {
        match chain.open() {
            Some(path) if !path.1.is_empty() => self.note(&path, Kind::Presence),
            _ => Ok(()),
        }
    }

    fn finding(&mut self, name: &str) -> Result<(), ReadMistake> {
        let detector = Detector::ALL.into_iter().find(|detector| detector.name() == name);
        self.findings.insert(detector.ok_or_else(|| ReadMistake::UnknownDetector(name.to_owned()))?);
        Ok(())
    }
}

fn mistake(root: Root, conflict: &Conflict) -> ReadMistake {
    let path = std::iter::once(root.text()).chain(conflict.path.iter().map(|name| &**name)).collect::<Vec<_>>();
    ReadMistake::Conflict { path: path.join("."), one: conflict.one, other: conflict.other }
}

/// A variable and the attributes taken of it in turn.
struct Chain<'e> {
    var: Var,
    names: Vec<&'e str>,
}

impl Chain<'_> {
    fn open(&self) -> Option<Path> {
        let (root, rest) = match (&self.var, &self.names[..]) {
            (Var::Context, ["arguments", rest @ ..]) => (Root::Arguments, rest),
            (Var::Principal, ["claims", rest @ ..]) => (Root::Claims, rest),
            _ => return None,
        };
        Some((root, rest.iter().map(|name| Arc::from(*name)).collect()))
    }
}

fn chain(expr: &Expr) -> Option<Chain<'_>> {
    match expr {
        Expr::Var(var) => Some(Chain { var: var.clone(), names: Vec::new() }),
        Expr::GetAttr { expr, attr } => {
            let mut chain = chain(expr)?;
            chain.names.push(attr);
            Some(chain)
        }
        _ => None,
    }
}

fn open_path(expr: &Expr) -> Option<Path> {
    chain(expr)?.open().filter(|(_, path)| !path.is_empty())
}

/// The kind an expression has whatever is sent, as far as it can be told without the schema's validator.
fn kind_of(expr: &Expr) -> Option<Kind> {
    match expr {
        Expr::Literal(Literal::Bool(_)) | Expr::Like { .. } | Expr::HasAttr { .. } | Expr::Is { .. } => Some(BOOL),
        Expr::Literal(Literal::Long(_)) => Some(LONG),
        Expr::Literal(Literal::String(_)) => Some(TEXT),
        Expr::GetAttr { .. } => declared(&chain(expr)?),
        Expr::UnaryOp { op: UnaryOp::Decimal, .. } => Some(DECIMAL),
        Expr::UnaryOp { op: UnaryOp::Neg, .. } => Some(LONG),
        Expr::UnaryOp { op: UnaryOp::Not | UnaryOp::IsEmpty, .. } => Some(BOOL),
        Expr::BinaryOp { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul, .. } => Some(LONG),
        Expr::BinaryOp { .. } => Some(BOOL),
        Expr::IfThenElse { then_expr, else_expr, .. } => kind_of(then_expr).or_else(|| kind_of(else_expr)),
        Expr::Set(elements) => elements.iter().find_map(|element| kind_of(element)).map(|kind| set_of(Some(kind))),
        _ => None,
    }
}

/// The kinds of the attributes that the schema declares.
fn declared(chain: &Chain<'_>) -> Option<Kind> {
    match (&chain.var, &chain.names[..]) {
        (Var::Principal, ["subject" | "tenant" | "issuer"]) => Some(TEXT),
        (Var::Principal, ["scopes" | "roles"]) => Some(Kind::Set(Scalar::Text)),
        (Var::Resource, ["name" | "verb" | "scope" | "route"]) => Some(TEXT),
        (Var::Resource, ["labels"]) => Some(Kind::Set(Scalar::Text)),
        (Var::Context, ["findings", _]) => Some(LONG),
        _ => None,
    }
}

const fn operand(op: UnaryOp) -> Option<Kind> {
    match op {
        UnaryOp::Not => Some(BOOL),
        UnaryOp::Neg => Some(LONG),
        UnaryOp::IsEmpty => Some(Kind::Set(Scalar::Text)),
        _ => None,
    }
}

/// A set of such elements; of Strings when they are not known.
const fn set_of(element: Option<Kind>) -> Kind {
    match element {
        Some(Kind::Scalar(scalar)) => Kind::Set(scalar),
        _ => Kind::Set(Scalar::Text),
    }
}

const fn element(set: Option<Kind>) -> Option<Kind> {
    match set {
        Some(Kind::Set(scalar)) => Some(Kind::Scalar(scalar)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn reads(condition: &str) -> Result<Reads, ReadMistake> {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap().to_pst().unwrap();
        let mut reads = Reads::of(policy.body())?;
        let claims = reads.claims.clone();
        while reads.propagate(&claims)? {}
        reads.settle(&claims)?;
        Ok(reads)
    }

    #[track_caller]
    fn check(condition: &str, expected: &[(&str, &str)]) {
        let reads = reads(condition).unwrap();
        let mut found = Vec::new();
        for (root, shape) in [("a", &reads.arguments), ("c", &reads.claims)] {
            let mut note = |path: &[Arc<str>], kind: Kind| {
                found.push((format!("{root}.{}", path.join(".")), kind.name()));
                Ok::<(), ()>(())
            };
            shape.visit(&mut Vec::new(), &mut note).unwrap();
        }
        let expected: Vec<_> = expected.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn refuse(condition: &str) -> ReadMistake {
        reads(condition).unwrap_err()
    }

    #[test]
    fn types_come_from_how_a_value_is_used() {
        check("context.arguments.limit < 100", &[("a.limit", "Long")]);
        check("context.arguments.region == \"eu\"", &[("a.region", "String")]);
        check("context.arguments.to like \"*@a.com\"", &[("a.to", "String")]);
        check("context.arguments.dry", &[("a.dry", "Bool")]);
        check("!context.arguments.dry || context.arguments.sure", &[("a.dry", "Bool"), ("a.sure", "Bool")]);
        check("context.arguments.price.lessThan(decimal(\"1.5\"))", &[("a.price", "decimal")]);
        check("decimal(\"1.5\") == context.arguments.price", &[("a.price", "decimal")]);
        check("context.arguments.ids.contains(7)", &[("a.ids", "Set<Long>")]);
        check("[\"a\", \"b\"].contains(context.arguments.x)", &[("a.x", "String")]);
        check("principal.scopes.contains(context.arguments.x)", &[("a.x", "String")]);
        check("context.arguments.tags.containsAny([\"a\"])", &[("a.tags", "Set<String>")]);
        check("context.arguments.a + 1 == 2", &[("a.a", "Long")]);
        check("context.arguments.a.b.c == true", &[("a.a", "a record"), ("a.a.b", "a record"), ("a.a.b.c", "Bool")]);
    }

    #[test]
    fn presence_alone_asks_for_no_type() {
        check("context.arguments has delete_all", &[("a.delete_all", "anything")]);
        check("context.arguments has a.b", &[("a.a", "a record"), ("a.a.b", "anything")]);
        check("context.arguments has a && context.arguments.a > 3", &[("a.a", "Long")]);
        check("context has arguments.a", &[("a.a", "anything")]);
    }

    #[test]
    fn equality_carries_types_across() {
        check("context.arguments.a == principal.claims.b", &[("a.a", "String"), ("c.b", "String")]);
        check(
            "context.arguments.a == principal.claims.b && principal.claims.b > 3",
            &[("a.a", "Long"), ("c.b", "Long")],
        );
        check(
            "context.arguments.a == context.arguments.b && context.arguments.b == context.arguments.c && context.arguments.c == 1",
            &[("a.a", "Long"), ("a.b", "Long"), ("a.c", "Long")],
        );
        check("context.arguments.owner == principal.subject", &[("a.owner", "String")]);
    }

    #[test]
    fn findings_and_source_are_seen() {
        let found = reads("context.findings.us_ssn > 0 && context.source.address.isLoopback()").unwrap();
        assert!(found.findings.contains(&Detector::UsSsn) && found.source && !found.context_free());
        assert!(reads("principal.scopes.contains(resource.scope)").unwrap().context_free());
        assert_eq!(refuse("context.findings.shoe_size > 0"), ReadMistake::UnknownDetector("shoe_size".into()));
    }

    #[test]
    fn no_record_escapes_the_analysis() {
        for condition in [
            "context == {arguments: {a: 1}}",
            "context.arguments == {a: 1}",
            "(if principal.tenant == \"a\" then context.arguments else {a: 1}).a == 1",
            "(if principal.tenant == \"a\" then context else context).arguments.a == 1",
            "[context.arguments].contains({a: 1})",
            "{x: context}.x.arguments.a == 1",
            "principal.claims == {a: 1}",
            "context.arguments.a == context.arguments.b && context.arguments.a.x == 1",
            "context.findings == {us_ssn: 1}",
        ] {
            assert!(matches!(refuse(condition), ReadMistake::WholeRecord(_)), "{condition}");
        }
    }

    #[test]
    fn contradicting_uses_are_a_mistake() {
        let mistake = refuse("context.arguments.a < 1 && context.arguments.a like \"x\"");
        assert_eq!(mistake.to_string(), "`context.arguments.a` is taken for Long and for String");
        assert!(matches!(
            refuse("context.arguments.a == context.arguments.b && context.arguments.a < 1 && context.arguments.b"),
            ReadMistake::Conflict { .. }
        ));
    }
}
