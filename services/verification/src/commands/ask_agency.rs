use chrono::FixedOffset;
use wanwu_ids::VerificationId;
use wanwu_personal::{PersonName, ResidentId};
use wanwu_proto::verification::v1::{AgeBand, RealNameChanged};

use super::submit_real_name::aad;
use crate::{
    app::App,
    domain::{
        age,
        verification::{State, next_query},
    },
    error::Error,
    store::{
        gates,
        verifications::{self, Verification},
    },
};

/// Mainland China has one time zone and no daylight saving.
const SHANGHAI_SECONDS: i32 = 8 * 3600;

impl App {
    /// Asks the agency about a pending check whose time has come, and books its answer.
    pub async fn ask_agency(&self, id: VerificationId) -> Result<(), Error> {
        match self.start_query(id).await? {
            Some(pending) => self.ask_about(&pending).await,
            None => Ok(()),
        }
    }

    /// Asks the agency about a check for which this query is counted, and books its answer. The
    /// agency is asked outside of any transaction; the same check asked twice gets the same answer
    /// and counts once.
    pub(super) async fn ask_about(&self, pending: &Verification) -> Result<(), Error> {
        let id = pending.verification_id;
        let (name, resident_id) = self.open(pending).await?;
        let answer = self.agency.ask(id, &name, &resident_id).await;
        if let Err(error) = &answer {
            metrics::counter!("wanwu_agency_queries_total", "outcome" => error.kind()).increment(1);
        }
        let answer = answer?;
        metrics::counter!("wanwu_agency_queries_total", "outcome" => "answered").increment(1);

        let mut tx = self.pool.begin().await?;
        let mut check = verifications::lock(&mut tx, id)
            .await?
            .ok_or(Error::NotFound)?;
        if check.state != State::Pending {
            return Ok(());
        }
        check.state = check.state.decide(answer);
        check.decided_at = Some(self.clock.now());
        verifications::save(&mut tx, &check).await?;
        if check.state == State::Verified {
            let today = self.today();
            let band = age::band(resident_id.birth_date(), today);
            let gate = gates::save(&mut tx, check.account_id, true, band, today).await?;
            let event = RealNameChanged {
                account_id: gate.account_id,
                version: gate.version,
                verified: gate.verified,
                age_band: gate.age_band,
            };
            wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Asks about every pending check whose time has come; answers how many it tried.
    pub async fn ask_about_pending(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let due = verifications::due(&mut connection, self.clock.now(), 100).await?;
        drop(connection);
        for id in &due {
            if let Err(error) = self.ask_agency(*id).await {
                tracing::warn!(verification.id = %id, error = &error as &dyn std::error::Error,
                    "The agency gave no answer; it will be asked again");
            }
        }
        Ok(due.len())
    }

    /// Counts a query before it is made, so that a crash in the middle does not ask at once again.
    async fn start_query(&self, id: VerificationId) -> Result<Option<Verification>, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let Some(mut check) = verifications::lock(&mut tx, id).await? else {
            return Ok(None);
        };
        if check.state != State::Pending || check.query_after > now {
            return Ok(None);
        }
        check.queries += 1;
        check.query_after = next_query(now, check.queries);
        verifications::save(&mut tx, &check).await?;
        tx.commit().await?;
        Ok(Some(check))
    }

    /// Name and number of a check.
    pub(super) async fn open(
        &self,
        check: &Verification,
    ) -> Result<(PersonName, ResidentId), Error> {
        let key = self.keys.existing(check.account_id.uuid()).await?;
        let row = check.verification_id.to_string();
        let name = key.open_text(aad("name_sealed", &row), &check.name_sealed)?;
        let number = key.open_text(aad("resident_id_sealed", &row), &check.resident_id_sealed)?;
        let name = PersonName::parse(&name).map_err(|_| Error::Unreadable)?;
        let number = ResidentId::parse(&number, self.today()).map_err(|_| Error::Unreadable)?;
        Ok((name, number))
    }

    /// Today in Asia/Shanghai, by which ages are counted.
    #[must_use]
    pub fn today(&self) -> chrono::NaiveDate {
        let zone = FixedOffset::east_opt(SHANGHAI_SECONDS).expect("8 hours are a valid offset");
        self.clock.now().with_timezone(&zone).date_naive()
    }

    /// What a person's age is today.
    pub(super) fn band_today(&self, resident_id: &ResidentId) -> AgeBand {
        age::band(resident_id.birth_date(), self.today())
    }
}
