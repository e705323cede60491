<?php
// A restricted script of its own, whatever its path info.
echo 'MARK-ADMIN';
