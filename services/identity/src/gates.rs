use futures::{StreamExt, stream::BoxStream};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wanwu_grpc::Channel;
use wanwu_proto::{
    privacy::v1::{
        GetPrivacyGateRequest, PrivacyGate, RecordAcceptanceRequest, WatchPrivacyGatesRequest,
        agreement_service_client::AgreementServiceClient,
        privacy_gate_service_client::PrivacyGateServiceClient,
    },
    verification::v1::{
        GetRealNameGateRequest, RealNameGate, WatchRealNameGatesRequest,
        real_name_gate_service_client::RealNameGateServiceClient,
    },
};
use wanwu_watch::Source;

use crate::error::Error;

/// What identity asks of privacy at registration.
pub struct Privacy(pub Channel);

impl Privacy {
    /// Records that a new account accepts exactly the current versions.
    pub async fn record_acceptance(&self, request: RecordAcceptanceRequest) -> Result<(), Error> {
        AgreementServiceClient::new(self.0.clone())
            .record_acceptance(request)
            .await
            .map(drop)
            .map_err(refused)
    }
}

/// What a client is told of privacy's refusal: what is the client's own fault, nothing else.
fn refused(status: Status) -> Error {
    let details = status.get_error_details();
    let current = details
        .error_info()
        .filter(|info| info.reason == "AGREEMENTS_NOT_ACCEPTED")
        .map(|info| info.metadata.get("current").cloned().unwrap_or_default());
    match (current, status.code()) {
        (Some(current), _) => Error::AgreementsNotAccepted { current },
        (None, Code::InvalidArgument) => {
            Error::invalid("accepted_agreement_version_ids", "must be ids of versions")
        }
        (None, _) => Error::Privacy(status),
    }
}

/// Privacy's part of standings, as a holder reaches it.
pub struct PrivacyGates(pub PrivacyGateServiceClient<Channel>);

impl Source for PrivacyGates {
    type Item = PrivacyGate;

    async fn ask(&self, key: &str) -> Result<PrivacyGate, Status> {
        let request = GetPrivacyGateRequest {
            account_id: key.to_owned(),
        };
        let answer = self.0.clone().get_privacy_gate(request).await?.into_inner();
        answer
            .gate
            .ok_or_else(|| Status::internal("an answer without a gate"))
    }

    async fn watch(
        &self,
    ) -> Result<BoxStream<'static, Result<Option<PrivacyGate>, Status>>, Status> {
        let request = WatchPrivacyGatesRequest {};
        let stream = self
            .0
            .clone()
            .watch_privacy_gates(request)
            .await?
            .into_inner();
        Ok(stream.map(|item| item.map(|item| item.gate)).boxed())
    }
}

/// Verification's part of standings, as a holder reaches it.
pub struct RealNameGates(pub RealNameGateServiceClient<Channel>);

impl Source for RealNameGates {
    type Item = RealNameGate;

    async fn ask(&self, key: &str) -> Result<RealNameGate, Status> {
        let request = GetRealNameGateRequest {
            account_id: key.to_owned(),
        };
        let answer = self
            .0
            .clone()
            .get_real_name_gate(request)
            .await?
            .into_inner();
        answer
            .gate
            .ok_or_else(|| Status::internal("an answer without a gate"))
    }

    async fn watch(
        &self,
    ) -> Result<BoxStream<'static, Result<Option<RealNameGate>, Status>>, Status> {
        let request = WatchRealNameGatesRequest {};
        let stream = self
            .0
            .clone()
            .watch_real_name_gates(request)
            .await?
            .into_inner();
        Ok(stream.map(|item| item.map(|item| item.gate)).boxed())
    }
}
