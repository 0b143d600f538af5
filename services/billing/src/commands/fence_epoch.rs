use wanwu_ids::EpochId;

use crate::{
    app::App,
    error::Error,
    store::{
        epochs,
        leases::{self, StoredLease},
    },
};

impl App {
    /// Ends an epoch: no lease is granted to it any more, and those that it has are answered.
    pub async fn fence_epoch(&self, epoch_id: EpochId) -> Result<Vec<StoredLease>, Error> {
        let mut tx = self.pool.begin().await?;
        epochs::fence(&mut tx, epoch_id, self.now()).await?;
        let open = leases::open_of(&mut tx, epoch_id).await?;
        tx.commit().await?;
        Ok(open)
    }
}
