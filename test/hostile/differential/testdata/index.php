<?php
// A front controller as most frameworks have one: it uses the path info of index.php, otherwise
// the decoded path of the request.
$path = $_SERVER['PATH_INFO'] ?? '';
if ($path === '') {
    $path = rawurldecode((string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
}
$path = '/' . trim($path, '/');
if ($path === '/admin' || str_starts_with($path, '/admin/') || $path === '/settings') {
    echo 'MARK-ADMIN';
} elseif ($path === '/public' || str_starts_with($path, '/public/')) {
    echo 'MARK-PUBLIC';
} else {
    echo 'MARK-REST';
}
