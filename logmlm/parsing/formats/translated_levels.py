"""Severities of PostgreSQL in the languages that its server messages are translated to.

With `lc_messages` other than C or English, PostgreSQL writes the severity of a line in that
language too (src/backend/po, the messages `DEBUG` to `PANIC` and `DETAIL:` to `STATEMENT:`).
"""

from __future__ import annotations

from types import MappingProxyType

_WORDS = {
    "DEBUG": "DEPURAÇÃO ОТЛАДКА НАЛАГОДЖЕННЯ デバッグ 调试 디버그",
    "LOG": "LOGG DZIENNIK KAYIT СООБЩЕНИЕ ЗАПИС ログ 日志 로그",
    "INFO": "INFORMACJA BİLGİ ИНФОРМАЦИЯ ІНФОРМАЦІЯ 情報 信息 정보",
    "NOTICE": "HINWEIS NOTA NOTIFICA NOTIS NOT UWAGA ЗАМЕЧАНИЕ ПОВІДОМЛЕННЯ 注意 알림",
    "WARNING": (
        "WARNUNG ATTENTION ADVERTENCIA ATTENZIONE AVISO VARNING OSTRZEŻENIE UYARI "
        "ПРЕДУПРЕЖДЕНИЕ ПОПЕРЕДЖЕННЯ 警告 경고"
    ),
    "ERROR": "FEHLER ERREUR ERRORE ERRO FEL BŁĄD HATA ОШИБКА ПОМИЛКА エラー 错误 오류 에러",
    "FATAL": (
        "FATALE FATALT KATASTROFALNY ÖLÜMCÜL ВАЖНО ФАТАЛЬНО 致命的エラー 致命错误 치명적오류 심각"
    ),
    "PANIC": (
        "PANIK PANICO PÂNICO PÁNICO PANIKA PANİK KRİTİK ПАНИКА ПАНІКА パニック "
        "比致命错误还过分的错误 손상 패닉"
    ),
    "DETAIL": (
        "DÉTAIL DETALLE DETTAGLI DETTAGLIO DETALHE DETALJ SZCZEGÓŁY AYRINTI ПОДРОБНОСТИ ДЕТАЛІ "
        "詳細 详细信息 描述 상세정보"
    ),
    "HINT": (
        "TIPP ASTUCE SUGERENCIA SUGGERIMENTO DICA TIPS PODPOWIEDŹ WSKAZÓWKA İPUCU ПОДСКАЗКА "
        "ПІДКАЗКА ヒント 提示 힌트"
    ),
    "QUERY": (
        "ANFRAGE REQUÊTE CONSULTA FRÅGA ZAPYTANIE SORGU ЗАПРОС ЗАПИТ 問い合わせ クエリ 查询 쿼리"
    ),
    "CONTEXT": (
        "ZUSAMMENHANG KONTEXT CONTEXTE CONTEXTO CONTESTO KONTEKST BAĞLAM İÇERİK КОНТЕКСТ "
        "文脈 コンテキスト 上下文 背景 내용"
    ),
    "LOCATION": (
        "ORT EMPLACEMENT UBICACIÓN POSIZIONE LOCAL PLATS POZYCJA YER ПОЛОЖЕНИЕ РОЗТАШУВАННЯ "
        "場所 位置 위치"
    ),
    "STATEMENT": (
        "ANWEISUNG INSTRUCTION SENTENCIA ISTRUZIONE COMANDO INSTRUÇÃO SATS WYRAŻENIE KOMUT İFADE "
        "DEYİM ОПЕРАТОР ІНСТРУКЦІЯ 文 ステートメント 语句 구문"
    ),
}

TRANSLATED = MappingProxyType(
    {word: level for level, words in _WORDS.items() for word in words.split()}
    | {"ÖLÜMCÜL (FATAL)": "FATAL", "명령 구문": "STATEMENT"}
)
"""A level's word in another language -> the English one."""
