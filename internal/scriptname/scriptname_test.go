package scriptname

import "testing"

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want bool
	}{
		{"/report.php", true}, {"/Report.PHP", true}, {"/a/b.cgi", true}, {"/a.php.en", true}, {"/a.b.aspx", true},
		{"/mapserv.exe", true}, {"/.php", true},
		{"/report", false}, {"/report.", false}, {"/report.phpx", false}, {"/a.php/b", false}, {"/a.php/", false},
		{"/v1.2", false}, {"/a.html", false}, {"", false}, {"/php", false},
	} {
		if got := Path(tt.in); got != tt.want {
			t.Errorf("Path(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestMaxEnding(t *testing.T) {
	if !Ending("phtml") || !Ending("jspx") || Ending("") || Ending("p") || Ending("phtmlx") {
		t.Error("Ending does not hold its bounds")
	}
}
