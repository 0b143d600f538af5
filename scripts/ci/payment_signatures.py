"""Judges our signatures with wechatpayv3 and python-alipay-sdk, and signs notices with them.

Reads a question (JSON) from standard input; see integration-tests/src/figures/money_foreign_signatures.rs.
"""

import json
import pathlib
import re
import sys
import time
import tomllib
import urllib.parse
import uuid
from base64 import b64encode

from alipay import AliPay, DCAliPay
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from wechatpayv3.utils import load_certificate, load_private_key, rsa_sign, rsa_verify

question = json.load(sys.stdin)
folder = pathlib.Path(question["folder"])
checks = {}


def check(what, holds):
    counts = checks.setdefault(what, {"passed": 0, "failed": 0})
    counts["passed" if holds else "failed"] += 1


def config(name):
    return tomllib.loads((folder / f"{name}.toml").read_text())


def wechat_requests(settings):
    """Every request of ours verifies, and the package would have signed it as we did."""
    public = load_certificate(pathlib.Path(settings["merchant_certificate_file"]).read_text()).public_key()
    private = load_private_key((folder / "merchant-key.pem").read_text())
    for request in question["wechat_requests"]:
        fields = dict(re.findall(r'(\w+)="([^"]*)"', request["authorization"]))
        first = "%s\n%s\n%s" % (request["method"], request["path"], fields["timestamp"])
        holds = rsa_verify(first, fields["nonce_str"], request["body"], fields["signature"], public)
        check("wechatpayv3 verifies our requests", holds)
        text = "%s\n%s\n%s\n" % (first, fields["nonce_str"], request["body"])
        check("wechatpayv3 signs as we do", rsa_sign(private, text) == fields["signature"])
        wrong = rsa_verify(first, fields["nonce_str"] + "x", request["body"], fields["signature"], public)
        check("wechatpayv3 refuses another nonce", not wrong)


def wechat_notice(settings):
    transaction = {
        "mchid": settings["mchid"],
        "appid": settings["appid"],
        "out_trade_no": question["wechat_order"],
        "transaction_id": "42" + question["wechat_order"][:26],
        "trade_type": "NATIVE",
        "trade_state": "SUCCESS",
        "success_time": "2026-11-23T12:00:03+08:00",
        "amount": {"total": question["fen"], "currency": "CNY"},
    }
    nonce = uuid.uuid4().hex[:12]
    key = AESGCM(settings["api_v3_key"].encode())
    sealed = key.encrypt(nonce.encode(), json.dumps(transaction).encode(), b"transaction")
    body = json.dumps(
        {
            "id": str(uuid.uuid4()),
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "nonce": nonce,
                "associated_data": "transaction",
                "ciphertext": b64encode(sealed).decode(),
            },
        }
    )
    private = load_private_key(pathlib.Path(settings["platform_key_file"]).read_text())
    timestamp, once = str(int(time.time())), uuid.uuid4().hex
    return {
        "path": "/payments/wechat/callback",
        "body": body,
        "headers": {
            "content-type": "application/json",
            "wechatpay-serial": settings["platform_serial"],
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": once,
            "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
            "wechatpay-signature": rsa_sign(private, f"{timestamp}\n{once}\n{body}\n"),
        },
    }


def alipay(private, public, settings):
    read = lambda name: (folder / f"{name}.pem").read_text()
    return AliPay(
        appid=settings["app_id"],
        app_notify_url=None,
        app_private_key_string=read(private),
        alipay_public_key_string=read(public),
        sign_type="RSA2",
    )


def alipay_requests(settings):
    """Every request of ours verifies, and the package would have signed it as we did."""
    judge = alipay("alipay-app-key", "alipay-app-public", settings)
    page = urllib.parse.urlsplit(question["alipay_page"]).query
    requests = question["alipay_requests"] + [dict(urllib.parse.parse_qsl(page))]
    read = lambda name: pathlib.Path(settings[name]).read_text()
    app = DCAliPay.get_cert_sn(read("app_certificate_file"))
    root = DCAliPay.get_root_cert_sn(read("alipay_root_file"))
    for request in requests:
        request = dict(request)
        named = (request["app_cert_sn"], request["alipay_root_cert_sn"])
        check("python-alipay-sdk numbers certificates as we do", named == (app, root))
        signature = request.pop("sign")
        text = "&".join(f"{name}={value}" for name, value in judge._ordered_data(dict(request)))
        check("python-alipay-sdk verifies our requests", judge._verify(text, signature))
        signed = dict(urllib.parse.parse_qsl(judge.sign_data(dict(request))))
        check("python-alipay-sdk signs as we do", signed["sign"] == signature)
        check("python-alipay-sdk refuses another text", not judge._verify(text + "x", signature))


def alipay_notice(settings):
    provider = alipay("alipay-key", "alipay-public", settings)
    fields = {
        "notify_id": uuid.uuid4().hex,
        "notify_type": "trade_status_sync",
        "app_id": settings["app_id"],
        "seller_id": settings["seller_id"],
        "charset": "utf-8",
        "subject": "万物账户充值",
        "out_trade_no": question["alipay_order"],
        "trade_no": "20261123" + question["alipay_order"][:20],
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "%d.%02d" % divmod(question["fen"], 100),
    }
    text = "&".join(f"{name}={value}" for name, value in provider._ordered_data(fields))
    signature = provider._sign(text)
    check("python-alipay-sdk verifies its own notice", provider.verify(dict(fields), signature))
    form = dict(fields, sign_type="RSA2", sign=signature)
    return {
        "path": "/payments/alipay/callback",
        "body": urllib.parse.urlencode(form),
        "headers": {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
    }


wechat_requests(config("wechat-pay"))
alipay_requests(config("alipay"))
notices = [wechat_notice(config("wechat-pay")), alipay_notice(config("alipay"))]
json.dump({"checks": checks, "notices": notices}, sys.stdout)
