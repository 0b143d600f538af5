use tonic::Status;
use wanwu_grpc::Channel;
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::{
    CheckAccountCodeRequest, GetStandingRequest, SendAccountCodeRequest, Standing,
    account_code_service_client::AccountCodeServiceClient,
    standing_service_client::StandingServiceClient,
};

use crate::error::Error;

/// What privacy asks of identity.
pub struct Identity(Option<Channel>);

impl Identity {
    /// Identity through this channel.
    pub const fn new(channel: Channel) -> Self {
        Self(Some(channel))
    }

    /// No identity at all: every question fails.
    pub const fn nowhere() -> Self {
        Self(None)
    }

    fn channel(&self) -> Result<Channel, Error> {
        self.0
            .clone()
            .ok_or_else(|| Error::Identity(Status::unavailable("no identity")))
    }

    /// The standing of an account; NOT_FOUND when there is none.
    pub async fn standing(&self, account_id: AccountId) -> Result<Standing, Error> {
        let request = GetStandingRequest {
            account_id: account_id.to_string(),
        };
        let answer = StandingServiceClient::new(self.channel()?)
            .get_standing(request)
            .await
            .map_err(Error::Identity)?;
        answer.into_inner().standing.ok_or(Error::NotFound)
    }

    /// Sends a code to the account's phone; answers its life in seconds.
    pub async fn send_code(&self, account_id: AccountId, purpose: String) -> Result<i32, Error> {
        let request = SendAccountCodeRequest {
            account_id: account_id.to_string(),
            purpose,
        };
        let answer = AccountCodeServiceClient::new(self.channel()?)
            .send_account_code(request)
            .await
            .map_err(Error::Identity)?;
        Ok(answer.into_inner().expires_in_seconds)
    }

    /// Uses a code up.
    pub async fn check_code(
        &self,
        account_id: AccountId,
        purpose: String,
        code: String,
    ) -> Result<(), Error> {
        let request = CheckAccountCodeRequest {
            account_id: account_id.to_string(),
            purpose,
            code,
        };
        AccountCodeServiceClient::new(self.channel()?)
            .check_account_code(request)
            .await
            .map_err(Error::Identity)?;
        Ok(())
    }
}
