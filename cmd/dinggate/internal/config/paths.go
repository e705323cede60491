package config

// loginAPIPath is the login callback of pages that draw their own QR code.
const loginAPIPath = "/dingtalk/login/callback"
