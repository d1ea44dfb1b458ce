"""Mails in words: `mails.render_mail` fills the two pages here with `words` and a notification."""
