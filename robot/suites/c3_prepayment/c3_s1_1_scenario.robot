*** Settings ***
Documentation       C3, scenario 1: a customer prepays for service at their own site, activated at once (programme A).
...                 Step by step, in the catalogue's ids.
Library             ../../keywords/prepayment_steps.py
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/website_browser.py
Test Setup          The Site Is Provisioned


*** Test Cases ***
A Customer Prepays And Is Energised At Once
    [Tags]    C3-S1    C3-MSG-01    C3-MSG-02    C3-MSG-05    C3-MSG-06    C3-MSG-07    C3-MSG-08    C3-MSG-10
    ...    C3-MSG-11    C3-MSG-12
    The Display Has Joined    1 minute
    The Display Shows An Earlier Balance    100
    Representative Signs In At The Website
    Customer Asks To Prepay By Phone
    Representative Refuses Somebody Else
    Representative Confirms The Customers Identity
    Keep A Picture    identity
    Representative Estimates The Amount To The Next Bill Cycle
    Keep A Picture    estimate
    Customer Gives Amount Method And Option    2500    card    disconnect
    Representative Posts Nothing For A Declined Card
    Representative Verifies The Funds And Posts The Amount
    CSS Commands The Prepayment Information
    ADCS Logs The Request And Sends The Message
    Meter Energises The Service And Returns A Receipt
    ADCS Passes The Receipt To The MDMS
    MDMS Makes The Receipt Available
    Representative Acknowledges The Confirmation
    Keep A Picture    confirmation
    Customer Signs In At The Website
    Meter And Account Page Show The Account
    Keep A Picture    account
    Display Device Shows The Account
