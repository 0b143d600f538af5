use sqlx::postgres::PgQueryResult;

/// A statement touched another number of rows than it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} rows affected where {expected} were expected")]
pub struct RowCountError {
    /// How many it had to touch.
    pub expected: u64,
    /// How many it touched.
    pub found: u64,
}

impl From<RowCountError> for sqlx::Error {
    fn from(error: RowCountError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The error says that this named constraint was violated.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.constraint())
        == Some(constraint)
}

/// Refuses a result that touched another number of rows than `expected`.
///
/// # Errors
/// When the numbers differ.
pub fn ensure_rows(result: &PgQueryResult, expected: u64) -> Result<(), RowCountError> {
    let found = result.rows_affected();
    if found == expected {
        Ok(())
    } else {
        Err(RowCountError { expected, found })
    }
}

/// The same work may succeed when it is tried again: the connection broke, the server restarts
/// or is full, the transaction lost a race, or a lock did not come in time.
///
/// After an error of the connection during COMMIT the work may have been done: only what is
/// idempotent may be repeated.
#[must_use]
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_) => true,
        sqlx::Error::Protocol(text) => text.contains("unexpected end of"),
        sqlx::Error::Database(error) => error.code().is_some_and(|code| transient_code(&code)),
        _ => false,
    }
}

fn transient_code(code: &str) -> bool {
    matches!(
        code,
        // serialization failure, deadlock, lock not available, statement timeout,
        // idle in transaction timeout
        "40001" | "40P01" | "55P03" | "57014" | "25P03"
        // too many connections, shutting down, crash, starting up, read-only after failover
        | "53300" | "57P01" | "57P02" | "57P03" | "25006"
    ) || code.starts_with("08")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_transient() {
        for code in ["40001", "40P01", "57P01", "08006", "55P03"] {
            assert!(transient_code(code), "{code}");
        }
        for code in ["23505", "42601", "22P02", "23514"] {
            assert!(!transient_code(code), "{code}");
        }
        assert!(is_transient(&sqlx::Error::PoolTimedOut));
        assert!(!is_transient(&sqlx::Error::RowNotFound));
    }
}
