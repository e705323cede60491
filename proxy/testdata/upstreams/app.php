<?php // Tells the cookies that PHP's own parser reads, and sets some.
foreach (json_decode(getenv('SET_COOKIES')) as $line) {
    header("Set-Cookie: $line", false);
}
echo json_encode((object) $_COOKIE);
