use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    self as pb, GrantPackageRequest, GrantPackageResponse, ListPackageProductsRequest,
    ListPackageProductsResponse, ListPackagesRequest, ListPackagesResponse, PackageOffer,
    PackageProduct, package_service_server::PackageService,
};

use super::{Handlers, id, page};
use crate::{
    commands::GrantPackage,
    convert::{text, timestamp},
    domain::{
        money::to_wire,
        package::{Offer, Product},
    },
    store::packages::Package,
};

#[tonic::async_trait]
impl PackageService for Handlers {
    async fn list_package_products(
        &self,
        _: Request<ListPackageProductsRequest>,
    ) -> Result<Response<ListPackageProductsResponse>, Status> {
        let products = self.0.products.read().clone();
        Ok(Response::new(ListPackageProductsResponse {
            products: products.into_iter().map(Into::into).collect(),
        }))
    }

    async fn list_packages(
        &self,
        request: Request<ListPackagesRequest>,
    ) -> Result<Response<ListPackagesResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.packages(account_id, &page).await?;
        Ok(Response::new(ListPackagesResponse {
            packages: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn grant_package(
        &self,
        request: Request<GrantPackageRequest>,
    ) -> Result<Response<GrantPackageResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let command = GrantPackage {
            operator_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(&request),
            account_id: id("account_id", &request.account_id)?,
            product: request.product,
        };
        let package = self.0.grant_package(command).await?;
        Ok(Response::new(GrantPackageResponse {
            package: Some(package.into()),
        }))
    }
}

impl From<Product> for PackageProduct {
    fn from(product: Product) -> Self {
        Self {
            offer: match product.offer {
                Offer::Sold => PackageOffer::Sold,
                Offer::FreeOnce => PackageOffer::FreeOnce,
                Offer::FreeMonthly => PackageOffer::FreeMonthly,
                Offer::Granted => PackageOffer::Granted,
            }
            .into(),
            price: Some(to_wire(product.price())),
            credit: Some(to_wire(product.credit)),
            models: product.models.unwrap_or_default(),
            days: product.days.map_or(0, i32::from),
            product: product.product,
        }
    }
}

impl From<Package> for pb::Package {
    fn from(package: Package) -> Self {
        Self {
            package_id: package.package_id.to_string(),
            product: package.product,
            credit: Some(to_wire(package.credit_nanos)),
            left: Some(to_wire(package.left_nanos)),
            models: package.models.unwrap_or_default(),
            begin_time: Some(timestamp(package.began_at)),
            expire_time: Some(timestamp(package.expires_at)),
            order_id: text(package.order_id),
        }
    }
}
