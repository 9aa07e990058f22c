"""Headers as the usual receivers write them, with example names."""

GMAIL = """
Delivered-To: jane@gmail.example
Received: by 2002:a05:6402:1a4d:b0:5cf:1:2 with SMTP id bf13csp1234567edb;
        Fri, 20 Nov 2026 06:03:14 -0800 (PST)
X-Google-Smtp-Source: AGHT+IFxyz
ARC-Seal: i=1; a=rsa-sha256; t=1795183393; cv=none; d=google.com; s=arc-20240605; b=abc==
ARC-Authentication-Results: i=1; mx.google.com;
       dkim=pass header.i=@shop.example header.s=s1 header.b=Zk3vX9qL;
       spf=pass (google.com: domain of noreply@shop.example designates 203.0.113.25 as permitted sender)
        smtp.mailfrom=noreply@shop.example;
       dmarc=pass (p=QUARANTINE sp=QUARANTINE dis=NONE) header.from=shop.example
Return-Path: <noreply@shop.example>
Received: from smtp.provider.example (smtp.provider.example. [203.0.113.25])
        by mx.google.com with ESMTPS id a640c23a62f3a-aa20dffd7e5si12345666b.123.2026.11.20.06.03.13
        for <jane@gmail.example>
        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);
        Fri, 20 Nov 2026 06:03:13 -0800 (PST)
Received-SPF: pass (google.com: domain of noreply@shop.example designates 203.0.113.25 as permitted sender)
        client-ip=203.0.113.25;
Authentication-Results: mx.google.com;
       dkim=pass header.i=@shop.example header.s=s1 header.b=Zk3vX9qL;
       spf=pass (google.com: domain of noreply@shop.example designates 203.0.113.25 as permitted sender)
        smtp.mailfrom=noreply@shop.example;
       dmarc=pass (p=QUARANTINE sp=QUARANTINE dis=NONE) header.from=shop.example
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=shop.example; s=s1; h=from:to:subject; bh=47DE=; b=Zk3v
Received: from app.shop.example (unknown [198.51.100.7])
        (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
         key-exchange X25519 server-signature RSA-PSS (2048 bits))
        by smtp.provider.example (Postfix) with ESMTPSA id 4F3A91C0D2
        for <jane@gmail.example>; Fri, 20 Nov 2026 14:03:11 +0000 (UTC)
From: =?utf-8?q?B=C3=BCcher?= <noreply@shop.example>
To: jane@gmail.example
Subject: =?utf-8?q?Test_email_from_B=C3=BCcher?=
Date: Fri, 20 Nov 2026 14:03:10 +0000
Message-ID: <0f7706e37438bb5d73415ee69d5cb498@app.shop.example>
Auto-Submitted: auto-generated
MIME-Version: 1.0
"""

MICROSOFT = """
Received: from AM0PR01MB0001.eurprd01.prod.exchangelabs.com (2603:10a6:208:1a::14)
 by DB9PR01MB0002.eurprd01.prod.exchangelabs.com with HTTPS; Fri, 20 Nov 2026
 14:03:16 +0000
Received: from DU2PR04CA0001.eurprd04.prod.outlook.com (2603:10a6:10:3b::6) by
 AM0PR01MB0001.eurprd01.prod.exchangelabs.com (2603:10a6:208:1a::14) with
 Microsoft SMTP Server (version=TLS1_2,
 cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.9343.10; Fri, 20 Nov
 2026 14:03:15 +0000
Authentication-Results: spf=softfail (sender IP is 203.0.113.25)
 smtp.mailfrom=shop.example; dkim=none (message not signed)
 header.d=none;dmarc=fail action=quarantine
 header.from=shop.example;compauth=fail reason=000
Received-SPF: SoftFail (protection.outlook.com: domain of transitioning
 shop.example discourages use of 203.0.113.25 as permitted sender)
X-Forefront-Antispam-Report:
 CIP:203.0.113.25;CTRY:DE;LANG:en;SCL:5;SRV:;IPV:NLI;SFV:SPM;H:mail.shop.example;PTR:mail.shop.example;CAT:SPOOF;
Return-Path: noreply@shop.example
From: Shop <noreply@shop.example>
Subject: Test email from Shop
Message-ID: <1f7706e37438bb5d73415ee69d5cb498@app.shop.example>
Date: Fri, 20 Nov 2026 14:03:10 +0000
"""

FASTMAIL = """
Return-Path: <noreply@shop.example>
Received: from phl-compute-03.internal (phl-compute-03.internal [10.202.2.43])
\t by sloti1d1t02 (Cyrus 3.13.0-alpha0) with LMTPA;
\t Fri, 20 Nov 2026 09:03:14 -0500
X-Spam-source: IP='203.0.113.25', Host='smtp.provider.example', Country='DE'
X-Spam-score: 0.0
Authentication-Results: mx3.messagingengine.com;
    arc=none (no signatures found);
    dkim=pass (2048-bit rsa key sha256) header.d=shop.example header.i=@shop.example
      header.b="dQw4w9Wg"; x-bits=2048 header.a=rsa-sha256 header.s=s1;
    dmarc=pass policy.published-domain-policy=reject
      policy.applied-disposition=none policy.evaluated-disposition=none
      (p=reject,d=none,d.eval=none) policy.policy-from=p header.from=shop.example
Authentication-Results: mx3.messagingengine.com;
    iprev=pass smtp.remote-ip=203.0.113.25 (smtp.provider.example);
    spf=pass smtp.mailfrom=noreply@shop.example smtp.helo=smtp.provider.example
Received: from smtp.provider.example (smtp.provider.example [203.0.113.25])
\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))
\t(No client certificate requested)
\tby mx3.messagingengine.com (Postfix) with ESMTPS id 2B7A51C00A1
\tfor <jane@fastmail.example>; Fri, 20 Nov 2026 09:03:13 -0500 (EST)
DKIM-Signature: v=1; a=rsa-sha256; d=shop.example; s=s1; b=dQw4w9Wg
From: Shop <noreply@shop.example>
Date: Fri, 20 Nov 2026 14:03:10 +0000
Message-ID: <2f7706e37438bb5d73415ee69d5cb498@app.shop.example>
"""

POSTFIX = """
Return-Path: <noreply@shop.example>
X-Original-To: jane@receiver.example
Delivered-To: jane@receiver.example
Received: from mail.shop.example (mail.shop.example [203.0.113.25])
\tby mail.receiver.example (Postfix) with ESMTP id 9C1B24012F
\tfor <jane@receiver.example>; Fri, 20 Nov 2026 14:01:50 +0000 (UTC)
Authentication-Results: mail.receiver.example;
\tdkim=fail ("body hash did not verify") header.d=shop.example header.s=mail header.b=Zk3vX9qL;
\tspf=none (mail.receiver.example: domain of noreply@shop.example has no SPF policy when checking
 203.0.113.25) smtp.mailfrom=noreply@shop.example;
\tdmarc=none
X-Spamd-Result: default: False [3.20 / 15.00];
\tR_DKIM_REJECT(1.00)[shop.example:s=mail];
\tARC_NA(0.00)[]
Received: from app.shop.example (localhost [127.0.0.1])
\tby mail.shop.example (Postfix) with ESMTP id 4F3A91C0D2;
\tFri, 20 Nov 2026 14:03:11 +0000 (UTC)
DKIM-Signature: v=1; a=rsa-sha256; d=shop.example; s=mail; b=Zk3vX9qL
From: noreply@shop.example
Message-ID: <3f7706e37438bb5d73415ee69d5cb498@app.shop.example>
"""

AMAZON = """
Return-Path: <0102019339a1b2c3-aaaa-bbbb@eu-west-1.amazonses.com>
Received: from a1-2.smtp-out.eu-west-1.amazonses.com (a1-2.smtp-out.eu-west-1.amazonses.com. [203.0.113.90])
        by mx.google.com with ESMTPS id ffacd0b85a97d-3822a1
        for <jane@gmail.example>
        (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 bits=128/128);
        Fri, 20 Nov 2026 06:03:12 -0800 (PST)
Authentication-Results: mx.google.com;
       dkim=pass header.i=@amazonses.com header.s=shh3fegwg5fppqsuzphvschd53n6ihuv header.b=QwErTy;
       spf=pass (google.com: domain of 0102019339a1b2c3-aaaa-bbbb@eu-west-1.amazonses.com designates 203.0.113.90
        as permitted sender) smtp.mailfrom=0102019339a1b2c3-aaaa-bbbb@eu-west-1.amazonses.com;
       dmarc=fail (p=NONE sp=NONE dis=NONE) header.from=shop.example
DKIM-Signature: v=1; a=rsa-sha256; q=dns/txt; c=relaxed/simple; s=shh3feg; d=amazonses.com; t=1795183391; b=QwErTy
From: Shop <noreply@shop.example>
Subject: Test email from Shop
Message-ID: <0102019339a1b2c3-aaaa-bbbb@eu-west-1.amazonses.com>
Date: Fri, 20 Nov 2026 14:03:11 +0000
Feedback-ID: ::1.eu-west-1.abc=:AmazonSES
X-SES-Outgoing: 2026.11.20-203.0.113.90
"""

FORWARDED = """
Received: from forwarder.example (forwarder.example. [192.0.2.66])
        by mx.google.com with ESMTPS id a640c23a62f3a
        for <jane@gmail.example>; Fri, 20 Nov 2026 07:03:13 -0800 (PST)
Authentication-Results: mx.google.com;
       dkim=fail header.i=@forwarder.example header.s=f;
       dkim=pass header.i=@news.shop.example header.s=s1 header.b=Zk3vX9qL;
       arc=pass (i=1 spf=pass spfdomain=shop.example dkim=pass dkdomain=shop.example);
       spf=fail (google.com: domain of noreply@shop.example does not designate 192.0.2.66 as permitted sender)
        smtp.mailfrom=noreply@shop.example;
       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=shop.example
ARC-Authentication-Results: i=1; forwarder.example; dkim=pass header.d=shop.example; spf=pass
Received: from smtp.provider.example (smtp.provider.example [203.0.113.25])
        by forwarder.example (Postfix) with ESMTPS id 77; Fri, 20 Nov 2026 14:03:13 +0000
From: Shop <noreply@shop.example>
Message-ID: <4f7706e37438bb5d73415ee69d5cb498@app.shop.example>
"""
