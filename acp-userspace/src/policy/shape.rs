//! The types that policies give to open data: arguments of a call and custom claims.
//!
//! Neither has a declared schema, yet Cedar's strict validator needs one. A policy says what it takes a value for by
//! how it uses it (`context.arguments.limit < 100` makes `limit` a Long), so the type is read off the policies, and
//! a value of any other JSON type is an evaluation error at run time: it denies. A [`Shape`] is also the list of what
//! has to be read from a call: nothing outside it reaches Cedar.

use std::sync::Arc;

/// A scalar type a policy can compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scalar {
    Bool,
    Long,
    /// Cedar's decimal: four places, ±922 337 203 685 477.5807.
    Decimal,
    Text,
}

/// What a policy takes a value for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only asked whether it is there; any JSON type will do.
    Presence,
    Scalar(Scalar),
    /// A JSON array, read as a set.
    Set(Scalar),
    /// A JSON object, read field by field.
    Record,
}

impl Kind {
    /// The name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Presence => "anything",
            Self::Scalar(Scalar::Bool) => "Bool",
            Self::Scalar(Scalar::Long) => "Long",
            Self::Scalar(Scalar::Decimal) => "decimal",
            Self::Scalar(Scalar::Text) => "String",
            Self::Set(Scalar::Bool) => "Set<Bool>",
            Self::Set(Scalar::Long) => "Set<Long>",
            Self::Set(Scalar::Decimal) => "Set<decimal>",
            Self::Set(Scalar::Text) => "Set<String>",
            Self::Record => "a record",
        }
    }

    /// The one kind that both uses allow; `None` when they contradict each other.
    pub(super) fn unify(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Presence, kind) | (kind, Self::Presence) => Some(kind),
            (a, b) if a == b => Some(a),
            _ => None,
        }
    }
}

/// A value's kind and, for a record, the fields that are read of it, in order of their names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) fields: Vec<(Arc<str>, Shape)>,
}

/// Two uses of one value that no value can serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Conflict {
    /// The value, below its root.
    pub(super) path: Vec<Arc<str>>,
    pub(super) one: Kind,
    pub(super) other: Kind,
}

impl Shape {
    /// A record of which nothing is read yet.
    pub(super) const fn record() -> Self {
        Self { kind: Kind::Record, fields: Vec::new() }
    }

    const fn presence() -> Self {
        Self { kind: Kind::Presence, fields: Vec::new() }
    }

    /// Whether nothing below it is read.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The shape at `path`, if it is read.
    pub(super) fn at(&self, path: &[Arc<str>]) -> Option<&Self> {
        path.iter().try_fold(self, |shape, name| {
            let i = shape.fields.binary_search_by(|(field, _)| field.cmp(name)).ok()?;
            Some(&shape.fields[i].1)
        })
    }

    /// Adds one use: the value at `path` as `kind`, everything above it as records.
    pub(super) fn read(&mut self, path: &[Arc<str>], kind: Kind) -> Result<(), Conflict> {
        let mut shape = self;
        for (depth, name) in path.iter().enumerate() {
            shape = shape.field(name);
            let here = if depth + 1 == path.len() { kind } else { Kind::Record };
            shape.kind = shape.kind.unify(here).ok_or_else(|| Conflict {
                path: path[..=depth].to_vec(),
                one: shape.kind,
                other: here,
            })?;
        }
        Ok(())
    }

    /// Adds every use that `other` lists.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), Conflict> {
        let mut path = Vec::new();
        other.visit(&mut path, &mut |path, kind| self.read(path, kind))
    }

    /// Calls `f` on every value below the root, parents first.
    pub(super) fn visit<E>(
        &self,
        path: &mut Vec<Arc<str>>,
        f: &mut impl FnMut(&[Arc<str>], Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        for (name, shape) in &self.fields {
            path.push(Arc::clone(name));
            f(path, shape.kind)?;
            shape.visit(path, f)?;
            path.pop();
        }
        Ok(())
    }

    fn field(&mut self, name: &Arc<str>) -> &mut Self {
        let i = match self.fields.binary_search_by(|(field, _)| field.cmp(name)) {
            Ok(i) => i,
            Err(i) => {
                self.fields.insert(i, (Arc::clone(name), Self::presence()));
                i
            }
        };
        &mut self.fields[i].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<Arc<str>> {
        text.split('.').map(Arc::from).collect()
    }

    const LONG: Kind = Kind::Scalar(Scalar::Long);
    const TEXT: Kind = Kind::Scalar(Scalar::Text);

    #[test]
    fn uses_of_one_value_unify_or_conflict() {
        let mut shape = Shape::record();
        shape.read(&path("a.b"), Kind::Presence).unwrap();
        shape.read(&path("a.b"), LONG).unwrap();
        assert_eq!(shape.at(&path("a.b")).unwrap().kind, LONG);
        assert_eq!(shape.at(&path("a")).unwrap().kind, Kind::Record);

        let conflict = shape.read(&path("a.b"), TEXT).unwrap_err();
        assert_eq!((conflict.one, conflict.other), (LONG, TEXT));
        let conflict = shape.read(&path("a"), TEXT).unwrap_err();
        assert_eq!((conflict.path, conflict.one), (path("a"), Kind::Record));
    }

    #[test]
    fn merging_takes_every_read_and_keeps_names_in_order() {
        let mut one = Shape::record();
        one.read(&path("z"), LONG).unwrap();
        let mut two = Shape::record();
        two.read(&path("a.c"), TEXT).unwrap();
        one.merge(&two).unwrap();
        let names: Vec<_> = one.fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a", "z"]);
        assert_eq!(one.at(&path("a.c")).unwrap().kind, TEXT);
    }
}
