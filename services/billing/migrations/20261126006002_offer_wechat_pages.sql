-- Orders may be offered through WeChat Pay's pages too.
alter table orders drop constraint orders_provider_check,
    add constraint orders_provider_check check (provider in ('wechat_native', 'wechat_h5',
        'wechat_jsapi', 'alipay_precreate', 'alipay_page'));
