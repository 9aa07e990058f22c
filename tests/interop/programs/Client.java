// Jakarta Mail, of which Angus is the next version, as its documentation shows it.
// java Client HOST PORT CA_FILE USER TOKEN FROM TO SUBJECT TEXT_FILE ATTACHMENT
import jakarta.mail.Message;
import jakarta.mail.MessagingException;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeBodyPart;
import jakarta.mail.internet.MimeMessage;
import jakarta.mail.internet.MimeMultipart;
import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Properties;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    static SSLContext trusting(String caFile) throws Exception {
        KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null);
        try (FileInputStream file = new FileInputStream(caFile)) {
            authorities.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(authorities);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] given) throws Exception {
        Properties settings = new Properties();
        settings.put("mail.smtp.host", given[0]);
        settings.put("mail.smtp.port", given[1]);
        settings.put("mail.smtp.auth", "true");
        settings.put("mail.smtp.starttls.required", "true");
        settings.put("mail.smtp.ssl.checkserveridentity", "true");
        settings.put("mail.smtp.ssl.socketFactory", trusting(given[2]).getSocketFactory());
        Session session = Session.getInstance(settings);
        MimeMessage message = new MimeMessage(session);
        message.setFrom(new InternetAddress(given[5], "Jörg's Shop", "UTF-8"));
        message.setRecipient(Message.RecipientType.TO, new InternetAddress(given[6]));
        message.setSubject(given[7], "UTF-8");
        MimeBodyPart text = new MimeBodyPart();
        text.setText(Files.readString(Path.of(given[8])), "UTF-8");
        MimeBodyPart attached = new MimeBodyPart();
        attached.attachFile(given[9]);
        message.setContent(new MimeMultipart(text, attached));
        try {
            Transport.send(message, given[3], given[4]);
        } catch (MessagingException refused) {
            System.out.println(refused);
            for (Exception cause = refused.getNextException(); cause instanceof MessagingException;
                    cause = ((MessagingException) cause).getNextException()) {
                System.out.println(cause);
            }
            System.exit(1);
        }
    }
}
