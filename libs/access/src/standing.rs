use std::{future::Future, pin::Pin, sync::Arc};

use tonic::{Request, Status};
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::Standing;

use crate::{Reason, refusal};

/// Whether the account may act could not be established in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the standing of the account is not known")]
pub struct StandingUnknown;

/// An answer to come; `None`: there is no such account.
pub type StandingAnswer<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Arc<Standing>>, StandingUnknown>> + Send + 'a>>;

/// Where the standing of accounts comes from: the watch in most services, its own database in
/// identity.
pub trait StandingSource: Send + Sync + 'static {
    /// The standing, if it is in memory and known to be current.
    fn fresh(&self, account_id: AccountId) -> Option<Arc<Standing>>;

    /// Asks for the standing.
    fn ask(&self, account_id: AccountId) -> StandingAnswer<'_>;
}

/// The standing of the account that calls, as it was when it passed the method's gates.
///
/// # Errors
/// When the method has no gates: nobody asked.
pub fn standing<T>(request: &Request<T>) -> Result<&Standing, Status> {
    let standing = request.extensions().get::<Arc<Standing>>();
    let standing = standing.ok_or_else(|| refusal(Reason::StandingUnknown))?;
    Ok(standing)
}
