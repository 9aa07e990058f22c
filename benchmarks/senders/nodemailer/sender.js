// nodemailer with its pool, its documented way for many mails; told "send N" like the other senders.
"use strict";

const fs = require("fs");
const readline = require("readline");
const nodemailer = require("nodemailer");

const answer = (fields) => process.stdout.write(JSON.stringify(fields) + "\n");

function poolFor(target, connections) {
  return nodemailer.createTransport({
    pool: true,
    maxConnections: connections,
    maxMessages: Infinity, // it would connect anew after a hundred
    host: target.host,
    port: target.port,
    secure: false,
    requireTLS: target.starttls,
    ignoreTLS: !target.starttls,
    auth: target.username ? { user: target.username, pass: target.password } : undefined,
    tls: target.ca_file ? { ca: fs.readFileSync(target.ca_file) } : undefined,
  });
}

async function send(pool, mail, count) {
  const sent = Array.from({ length: count }, () => pool.sendMail({ ...mail }));
  await Promise.all(sent);
}

async function main() {
  let pool, mail;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (!pool) {
      const settings = JSON.parse(line);
      pool = poolFor(settings.target, settings.options.connections);
      mail = settings.mail;
      answer({ ready: true });
      continue;
    }
    const before = process.cpuUsage(), started = process.hrtime.bigint();
    await send(pool, mail, Number(line.split(" ")[1]));
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    const used = process.cpuUsage(before);
    answer({ seconds, cpu: (used.user + used.system) / 1e6 });
  }
  pool.close();
}

main();
