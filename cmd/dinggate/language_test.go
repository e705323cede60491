package main

import (
	"strings"
	"testing"

	"dinggate/internal/i18n"
)

func TestLanguageOf(t *testing.T) {
	for _, tt := range []struct {
		environ string
		want    i18n.Language
	}{
		{"", i18n.English}, {"LANG=zh_CN.UTF-8", i18n.Chinese}, {"LANG=C.UTF-8", i18n.English},
		{"LANG=zh_CN LC_ALL=C", i18n.English},
		{"LANG=C LC_ALL=zh_TW.UTF-8", i18n.Chinese}, {"LC_ALL= LANG=zh", i18n.Chinese},
		{"LANG=en LC_MESSAGES=zh_CN", i18n.Chinese}, {"XLANG=zh", i18n.English},
	} {
		if got := i18n.FromEnviron(strings.Fields(tt.environ)); got != tt.want {
			t.Errorf("languageOf(%q) = %v, want %v", tt.environ, got, tt.want)
		}
	}
}
