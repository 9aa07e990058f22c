<?php
// PHPMailer, as WordPress sets it up for SMTP.
// php -d openssl.cafile=CA_FILE phpmailer.php HOST PORT CA_FILE USER TOKEN FROM TO SUBJECT TEXT_FILE ATTACHMENT
use PHPMailer\PHPMailer\Exception;
use PHPMailer\PHPMailer\PHPMailer;

foreach (['PHPMailer', 'SMTP', 'Exception'] as $class) {
    require "/usr/share/php/libphp-phpmailer/src/$class.php";
}
[, $host, $port, , $user, $token, $from, $to, $subject, $text, $attachment] = $argv;
$mail = new PHPMailer(true);
try {
    $mail->isSMTP();
    $mail->Host = $host;
    $mail->Port = (int) $port;
    $mail->SMTPAuth = true;
    $mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;
    $mail->Username = $user;
    $mail->Password = $token;
    $mail->CharSet = 'UTF-8';
    $mail->setFrom($from, "Jörg's Shop", false);
    $mail->addAddress($to);
    $mail->Subject = $subject;
    $mail->Body = file_get_contents($text);
    $mail->addAttachment($attachment);
    $mail->send();
} catch (Exception $refused) {
    echo $mail->ErrorInfo, "\n";
    exit(1);
}
