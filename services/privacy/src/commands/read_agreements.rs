use chrono::{DateTime, Utc};
use wanwu_ids::VersionId;

use crate::{
    app::App,
    error::Error,
    store::agreements::{self, AgreementVersion},
};

impl App {
    /// The version of every agreement in force now.
    pub async fn current_agreements(&self) -> Result<Vec<AgreementVersion>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(agreements::in_force(&mut connection, self.clock.now()).await?)
    }

    /// The version of one agreement that was in force at an instant (obligation T0.9).
    pub async fn agreement_in_force(
        &self,
        agreement: &str,
        instant: DateTime<Utc>,
    ) -> Result<AgreementVersion, Error> {
        let mut connection = self.pool.acquire().await?;
        agreements::in_force(&mut connection, instant)
            .await?
            .into_iter()
            .find(|version| version.agreement == agreement)
            .ok_or(Error::NotFound)
    }

    /// A version and its text.
    pub async fn agreement_text(&self, id: VersionId) -> Result<(AgreementVersion, String), Error> {
        let mut connection = self.pool.acquire().await?;
        let version = agreements::find(&mut connection, id)
            .await?
            .ok_or(Error::NotFound)?;
        let text = agreements::body(&mut connection, id)
            .await?
            .ok_or(Error::NotFound)?;
        Ok((version, text))
    }
}
