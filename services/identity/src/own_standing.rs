use std::sync::{Arc, Weak};

use wanwu_access::{StandingAnswer, StandingSource, StandingUnknown};
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::Standing;

use crate::{app::App, error::Error};

/// The gates of this service's own methods look at its own tables.
pub(crate) struct OwnStanding(pub(crate) Weak<App>);

impl StandingSource for OwnStanding {
    fn fresh(&self, _: AccountId) -> Option<Arc<Standing>> {
        None
    }

    fn ask(&self, account_id: AccountId) -> StandingAnswer<'_> {
        Box::pin(async move {
            let app = self.0.upgrade().ok_or(StandingUnknown)?;
            match app.standing(account_id).await {
                Ok(standing) => Ok(Some(Arc::new(standing))),
                Err(Error::NotFound) => Ok(None),
                Err(_) => Err(StandingUnknown),
            }
        })
    }
}
