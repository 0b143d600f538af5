use std::error::Error;

use wanwu_postgres::is_transient;

use crate::{HandlerError, failure::chain};

/// A failure that another try of the same transaction may cure.
pub(crate) fn lost_race(error: HandlerError) -> Result<sqlx::Error, HandlerError> {
    match error {
        HandlerError::Retry(source) => match source.downcast::<sqlx::Error>() {
            Ok(error) if is_transient(&error) => Ok(*error),
            Ok(error) => Err(HandlerError::Retry(error)),
            Err(source) => match transient_cause(&*source) {
                true => Ok(sqlx::Error::Protocol(chain(&*source))),
                false => Err(HandlerError::Retry(source)),
            },
        },
        error => Err(error),
    }
}

fn transient_cause(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<sqlx::Error>()
            .is_some_and(is_transient)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the effect cannot be written")]
    struct Wrapped(#[source] sqlx::Error);

    #[test]
    fn only_failures_of_the_moment_are_lost_races() {
        let moment = || sqlx::Error::PoolTimedOut;
        assert!(lost_race(HandlerError::retry(moment())).is_ok());
        assert!(lost_race(HandlerError::retry(Wrapped(moment()))).is_ok());
        assert!(lost_race(HandlerError::retry(sqlx::Error::RowNotFound)).is_err());
        assert!(lost_race(HandlerError::retry("no database at all")).is_err());
        assert!(lost_race(HandlerError::reject(moment())).is_err());
    }
}
