"""KakaoTalk messages, in the form of Kakao Talk Message's "send to friends" (REST API)."""
