// Go programs, as two of them send: "gitea" by net/smtp itself, in the steps of Gitea's services/mailer, "grafana" by
// gopkg.in/mail.v2, which Grafana uses. What is sent is made by that library for both.
// client gitea|grafana HOST PORT CA_FILE USER TOKEN FROM TO SUBJECT TEXT_FILE ATTACHMENT
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strconv"
	"strings"

	"gopkg.in/mail.v2"
)

func message(from, to, subject, textFile, attachment string) *mail.Message {
	text, err := os.ReadFile(textFile)
	check(err)
	made := mail.NewMessage()
	made.SetAddressHeader("From", from, "Jörg's Shop")
	made.SetHeader("To", to)
	made.SetHeader("Subject", subject)
	made.SetBody("text/plain", string(text))
	made.Attach(attachment)
	return made
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func asGitea(host, port string, trusted *tls.Config, user, token, from, to string, made *mail.Message) {
	connection, err := net.Dial("tcp", net.JoinHostPort(host, port))
	check(err)
	client, err := smtp.NewClient(connection, host)
	check(err)
	name, err := os.Hostname()
	check(err)
	check(client.Hello(name))
	if offered, _ := client.Extension("STARTTLS"); offered {
		check(client.StartTLS(trusted))
	}
	if offered, mechanisms := client.Extension("AUTH"); offered && user != "" {
		if strings.Contains(mechanisms, "CRAM-MD5") {
			check(client.Auth(smtp.CRAMMD5Auth(user, token)))
		} else if strings.Contains(mechanisms, "PLAIN") {
			check(client.Auth(smtp.PlainAuth("", user, token, host)))
		}
	}
	check(client.Mail(from))
	check(client.Rcpt(to))
	content, err := client.Data()
	check(err)
	_, err = made.WriteTo(content)
	check(err)
	check(content.Close())
	check(client.Quit())
}

func main() {
	given := os.Args[1:]
	way, host, port, caFile, user, token, from, to := given[0], given[1], given[2], given[3], given[4], given[5], given[6], given[7]
	authorities, err := os.ReadFile(caFile)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	trusted := &tls.Config{RootCAs: pool, ServerName: host}
	made := message(from, to, given[8], given[9], given[10])
	if way == "gitea" {
		asGitea(host, port, trusted, user, token, from, to, made)
		return
	}
	number, err := strconv.Atoi(port)
	check(err)
	dialer := mail.NewDialer(host, number, user, token)
	dialer.TLSConfig = trusted
	dialer.StartTLSPolicy = mail.MandatoryStartTLS
	check(dialer.DialAndSend(made))
}
