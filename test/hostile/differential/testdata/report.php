<?php
// A restricted script with its own route, for every path info.
echo 'MARK-ADMIN';
