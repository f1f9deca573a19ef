//! Audit: what happened. One record per request, written in one place, for denials as for successes.
