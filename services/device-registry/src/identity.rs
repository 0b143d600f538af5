use tonic::Code;
use wanwu_grpc::Channel;
use wanwu_ids::{AccountId, AppId};
use wanwu_proto::identity::v1::{GetAppOwnerRequest, app_service_client::AppServiceClient};

use crate::error::Error;

/// What device-registry asks of identity.
pub struct Identity(AppServiceClient<Channel>);

impl Identity {
    /// Identity through this channel.
    pub fn new(channel: Channel) -> Self {
        Self(AppServiceClient::new(channel))
    }

    /// Who owns an app.
    pub async fn app_owner(&self, app_id: AppId) -> Result<AccountId, Error> {
        let request = GetAppOwnerRequest {
            app_id: app_id.to_string(),
        };
        match self.0.clone().get_app_owner(request).await {
            Ok(answer) => answer
                .into_inner()
                .account_id
                .parse()
                .map_err(|_| Error::NotFound),
            Err(status) if status.code() == Code::NotFound => Err(Error::NotFound),
            Err(status) => Err(Error::Identity(status)),
        }
    }
}
