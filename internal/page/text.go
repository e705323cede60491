package page

// Text is the organisation's text on the pages, in Chinese and in English.
type Text struct{ Zh, En string }

// Both is one text for both languages.
func Both(s string) Text { return Text{s, s} }

// or replaces a missing language by the other one.
func (t Text) or() Text {
	if t.Zh == "" {
		t.Zh = t.En
	}
	if t.En == "" {
		t.En = t.Zh
	}
	return t
}

// ownTexts are the organisation's texts in one language; empty fields are ours.
type ownTexts struct {
	title, mark string
	lead, note  string
	contact     contact
}

// texts returns the texts of both languages. A missing name or contact is replaced by that of the
// other language; a missing lead or note is ours.
func (c Config) texts() map[string]ownTexts {
	title, contact := c.Title.or(), c.Contact.or()
	one := func(title, lead, note, contact string) ownTexts {
		s := ownTexts{
			title:   clean(title, 60),
			lead:    clean(lead, 200),
			note:    clean(note, 200),
			contact: parseContact(contact),
		}
		s.mark = firstLetter(s.title)
		return s
	}
	return map[string]ownTexts{"zh": one(title.Zh, c.Lead.Zh, c.Note.Zh, contact.Zh),
		"en": one(title.En, c.Lead.En, c.Note.En, contact.En)}
}
