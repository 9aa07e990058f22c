"""A canary for each secret of the secret story, with all the signs that escaping changes."""

from typing import Final

KEYS: Final = {
    "APP_KEY": "C4nary-lock-Q7vZx9LmWt2Rb8Hs1Nd6Yf3Pg0Ju5",
    "APP_KEY_PREVIOUS": "C4nary-rust-aK2jXw8Vn5Tc9Ge4Zq7Lm1Sb6Dh3F",
    "ADMIN_TOKEN": "C4nary-flag-Ux3Wm8Kp6Yd1Rz5Tb9Qe2Hn7Vc4Js",
    "EMAIL_HOST_PASSWORD": 'C4n\'ary "of" <.env> 50% & more\\é',
}
NEXT_KEY: Final = "C4nary-next-Wd4Kp9Xs2Lm7Tq5Rv8Zb3Hn6Jf1Gc"
ANOTHER_KEY: Final = "C4nary-lost-Zr5Bq8Tn2Xk7Wd9Mf4Hv6Jc1Lp3Ys"
OLD_PASSWORD: Final = "old canary: Grüße an den Otter"
NEW_PASSWORD: Final = 'new canary <on> the "moon" & 99%'
LAST_PASSWORD: Final = "last canary, copper kettle 7"
FIRST_SMTP: Final = "Sm7p-c4n'ary\"<o>&e%41+=\\/~#x"
SECOND_SMTP: Final = "  zwei Wörter – Schlüssel 鍵 🔑 "
TYPED: Final = {
    "refused password": "canar",  # made long enough below
    "wrong password at sign-in": "wrong canary at the door 1",
    "wrong current password": "wrong canary inside 2",
    "password typed as a name": "canary typed as a name 3",
    "SMTP password of a refused save": "unsaved canary <4>",
    "secret in a wrong field": "canary-in-a-wrong-field-5 ü",
    "secret in an unknown key": "canary-in-an-unknown-key-6 ü",
    "secret in a query": "canary-in-a-query-7",
    "secret in malformed JSON": "canary-in-malformed-json-8 ü",
    "wrong bearer token": "canary-wrong-bearer-token-9",
    "URL of an alert channel": "canary-in-the-url-of-a-channel-10",
    "signing secret of an alert channel": "canary-that-signs-for-a-channel-11",
} | {"refused password": "alice alice alice"}
ACCESS_TOKEN: Final = "ya29.C4nary_oauth-Vb7Kx2Qm9Zt4Wd8Rf1Hs6Ln3Pj5/Yc+Gu0~TeSa=="
CLIENT_SECRET: Final = 'C4n~8Q.client_+&=%/<o>"-Rw7Kz2Vt9Xm5'
ANOTHER_CLIENT_SECRET: Final = "C4n~unsaved-Ly6Bd1Wq8Ns3Hv5Kx0Tj"
REFRESH_TOKEN: Final = "1//C4nary_refresh-Zt5Wb8Kq2Xm7Vd4Hn9Rs1/Lj+Fp3~Yc6"
AUTHORIZATION_CODE: Final = "4/0C4nary_code-Xk7Vt2Zm9Qd4Wb8Rs1Hn6/Lp3+Jf5"
DEVICE_CODE: Final = "C4nary-device-Nw8Xt3Kz6Vm1Qd9Rb4Hs7Lj2Fp5"
STATE: Final = "C4nary-state_Wd9Kt4Xz7Vm2Qb8Ns5Hr1Lj6Fp3Yc"
VERIFIER: Final = "C4nary-verifier_Tz6Kx1Wm8Vd3Qb9Ns4Hr7Lj2Fp5Yc0Gu~Xe.Ba"
