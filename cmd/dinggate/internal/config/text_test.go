package config

import (
	"strings"
	"testing"
)

// TestSignInTexts checks a text for both languages, and one for each, from every source.
func TestSignInTexts(t *testing.T) {
	for _, tt := range []struct {
		yaml, args, environ string
		want                Text
		problem             string
	}{
		{yaml: "title: 云帆", want: Text{"云帆", "云帆"}},
		{yaml: `title: ""`},
		{yaml: "title: {zh: 云帆, en: Yunfan}", want: Text{"云帆", "Yunfan"}},
		{yaml: "title: {en: Yunfan}", want: Text{"", "Yunfan"}},
		{yaml: "title: {zh: 云帆, fr: Yunfan}", problem: "config.yaml:2: sign_in.title.fr is not a key"},
		{yaml: "title: [云帆]", problem: "config.yaml:2: sign_in.title wants text, got a list"},
		{yaml: "title: {zh: {a: b}}", problem: "config.yaml:2: sign_in.title.zh wants text, got keys with values"},
		{yaml: "title: {zh: 云帆, en: Yunfan}", environ: "DINGGATE_SIGN_IN_TITLE=Both", want: Text{"Both", "Both"}},
		{yaml: "title: {zh: 云帆, en: Yunfan}", environ: "DINGGATE_SIGN_IN_TITLE_EN=Sail", want: Text{"云帆", "Sail"}},
		{environ: "DINGGATE_SIGN_IN_TITLE_EN=Sail DINGGATE_SIGN_IN_TITLE=云帆", want: Text{"云帆", "Sail"}},
		{yaml: "title: 云帆", args: "--sign_in.title.en=Sail", want: Text{"云帆", "Sail"}},
		{yaml: "title: " + strings.Repeat("长", 201),
			problem: "config.yaml:2: sign_in.title is longer than 200 characters"},
		{yaml: "title: {en: " + strings.Repeat("l", 201) + "}",
			problem: "config.yaml:2: sign_in.title.en is longer than 200 characters"},
	} {
		yaml := ""
		if tt.yaml != "" {
			yaml = "sign_in:\n  " + tt.yaml + "\n"
		}
		cfg, problems := loadText(yaml, strings.Fields(tt.args), append(strings.Fields(tt.environ), required...))
		got := ""
		for _, p := range problems {
			got += p.String()
		}
		if got != tt.problem && (tt.problem == "" || !strings.HasPrefix(got, tt.problem)) ||
			tt.problem == "" && cfg.SignIn.Title != tt.want {
			t.Errorf("load(%.60q, %q, %q) = %+v %q, want %+v %q", tt.yaml, tt.args, tt.environ, cfg.SignIn.Title, got,
				tt.want, tt.problem)
		}
	}
}
