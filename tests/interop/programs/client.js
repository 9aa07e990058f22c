// nodemailer, as its documentation shows it.
// node client.js HOST PORT CA_FILE USER TOKEN FROM TO SUBJECT TEXT_FILE ATTACHMENT
"use strict";

const fs = require("node:fs");
const nodemailer = require("nodemailer");

const [host, port, ca, user, pass, from, to, subject, text, attachment] = process.argv.slice(2);
nodemailer
  .createTransport({ host, port, requireTLS: true, tls: { ca: fs.readFileSync(ca) }, auth: { user, pass } })
  .sendMail({
    from: { name: "Jörg's Shop", address: from },
    to,
    subject,
    text: fs.readFileSync(text, "utf8"),
    attachments: [{ path: attachment }],
  })
  .catch((error) => {
    console.log(`${error}`);
    process.exitCode = 1;
  });
