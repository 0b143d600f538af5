use wanwu_ids::AccountId;

use crate::{app::App, domain::guardian, error::Error};

/// A person wants to consent for a minor.
#[derive(Clone, Copy)]
pub struct StartGuardianConsent {
    /// The guardian.
    pub guardian_id: AccountId,
    /// The minor.
    pub ward_id: AccountId,
}

impl StartGuardianConsent {
    /// What the code confirms: it is good for this ward only.
    pub(super) fn purpose(self) -> String {
        format!("guardian_consent:{}", self.ward_id)
    }
}

impl App {
    /// Sends a code to the guardian's phone; answers its life in seconds.
    pub async fn start_guardian_consent(
        &self,
        command: StartGuardianConsent,
    ) -> Result<i32, Error> {
        self.check_guardian(command).await?;
        self.identity
            .send_code(command.guardian_id, command.purpose())
            .await
    }

    /// The two can be guardian and ward now.
    pub(super) async fn check_guardian(&self, command: StartGuardianConsent) -> Result<(), Error> {
        let guardian = self.identity.standing(command.guardian_id).await?;
        let ward = self.identity.standing(command.ward_id).await?;
        guardian::eligible(command.guardian_id, &guardian, command.ward_id, &ward)
            .map_err(|guardian::NotEligible| Error::GuardianNotEligible)
    }
}
