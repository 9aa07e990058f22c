<?php
// PHP's own mail(), which calls what sendmail_path says.
// php -d sendmail_path=… php_mail.php FROM TO SUBJECT TEXT_FILE ATTACHMENT
[, $from, $to, $subject, $text, $attachment] = $argv;
$boundary = bin2hex(random_bytes(12));
$name = '=?UTF-8?B?' . base64_encode(basename($attachment)) . '?=';
$body = "--$boundary\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    . file_get_contents($text)
    . "\r\n--$boundary\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    . "Content-Disposition: attachment; filename=\"$name\"\r\n\r\n"
    . chunk_split(base64_encode(file_get_contents($attachment))) . "--$boundary--\r\n";
$headers = [
    'From' => "=?UTF-8?Q?J=C3=B6rg's_Shop?= <$from>",
    'MIME-Version' => '1.0',
    'Content-Type' => "multipart/mixed; boundary=$boundary",
];
exit(mail($to, $subject, $body, $headers, "-f$from") ? 0 : 1);
